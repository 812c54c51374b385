"""The device, the threads and the memory of a process."""

import contextlib
import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt, as malloc.h of glibc numbers them."""
_KEPT = 1 << 30
"""Bytes: the largest block that is reused, and the free memory that is kept at the end of the heap."""


def set_threads(threads: int) -> None:
    """Give torch, OpenCV and NumPy's BLAS this many threads in this process: now if loaded, else when they are.

    They are not loaded for it: torch alone takes 300 MB of a process, and many stages need neither.
    """
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
        os.environ[name] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(threads)
    with contextlib.suppress(ImportError):  # absent from bare machines, whose BLAS then takes all cores
        import threadpoolctl

        threadpoolctl.threadpool_limits(threads, user_api="blas")


def keep_freed_memory() -> None:
    """Let this process reuse freed memory, instead of returning it to the system and paging it in anew.

    glibc gives back every freed block of 32 MB or more, such as a batch of feature maps; each page of the next one is
    then zeroed at its first touch, which takes a fifth of a training's time on a CPU. No-op without glibc.
    """
    with contextlib.suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        for parameter in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
            libc.mallopt(parameter, _KEPT)


def pick_device(gpus: float) -> str:
    """Name the device: "cuda" where a GPU was asked for and is there, else "cpu"."""
    if gpus <= 0:
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
