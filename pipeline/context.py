"""What a worker sees of the world, wherever it runs: the store, image bytes, its device, scratch space."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

import fsspec
import pyarrow as pa

from pipeline.clock import READ, Clock
from pipeline.files import open_filesystem, retrying
from pipeline.stage import Done
from pipeline.store import Store


class LocalContext:
    """The Context of one process. `threads` is set for torch and OpenCV, which would otherwise take every core."""

    def __init__(self, store: Store, *, device: str = "cpu", threads: int = 1) -> None:
        self.store = store
        self.device = device
        self.threads = threads
        self.clock = Clock()
        self._filesystems: dict[str, fsspec.AbstractFileSystem] = {}

    @cached_property
    def _scratch(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="weakbox-")

    @property
    def scratch(self) -> str:
        """A private folder that goes with the process."""
        return self._scratch.name

    def timed(self, phase: str) -> AbstractContextManager[None]:
        """Charge the time inside to a phase."""
        return self.clock.timed(phase)

    def table(self, done: Done, table: str, columns: Sequence[str] | None = None, filters: Any = None) -> pa.Table:
        """One table of a committed result."""
        with self.timed(READ):
            return self.store.table(done, table, columns, filters)

    def blob(self, done: Done, name: str) -> bytes:
        """One blob of a committed result."""
        with self.timed(READ):
            return self.store.blob(done, name)

    def read(self, uri: str, offset: int | None = None, length: int | None = None) -> bytes:
        """The bytes of an image, or of its range inside an archive."""
        with self.timed(READ):
            return self._read(uri, offset, length)

    def _read(self, uri: str, offset: int | None, length: int | None) -> bytes:
        protocol = uri.split("://", 1)[0] if "://" in uri else "file"
        if protocol == "file" and offset is None:
            with open(uri.removeprefix("file://"), "rb") as file:
                return file.read()
        if protocol not in self._filesystems:
            self._filesystems[protocol] = open_filesystem(uri)[0]
        fs = self._filesystems[protocol]
        end = None if offset is None or length is None else offset + length
        return bytes(retrying(lambda: fs.cat_file(uri, start=offset, end=end)))


def set_threads(threads: int) -> None:
    """Give torch, OpenCV and NumPy's BLAS this many threads in this process: now if loaded, else when they are.

    They are not loaded for it: torch alone takes 300 MB of a process, and many stages need neither.
    """
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
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
