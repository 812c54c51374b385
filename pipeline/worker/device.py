"""The device and the threads of a process."""

import contextlib
import os
import sys


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


def pick_device(gpus: float) -> str:
    """Name the device: "cuda" where a GPU was asked for and is there, else "cpu"."""
    if gpus <= 0:
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
