"""The context of a worker, wherever it runs: the store, image bytes, its device, scratch space."""

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property

import fsspec
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.base.check_clock import CHECKS
from pipeline.base.phase_clock import READ, PhaseClock
from pipeline.contract.context import ChangedError, ImagePlace
from pipeline.store.files import open_filesystem, retrying
from pipeline.store.paths import located
from pipeline.store.records import Done
from pipeline.store.store import Store
from pipeline.worker.parquet_rows import ParquetRows

_LARGEST = 2**30
"""Bytes of the largest file that is read whole: no decoder takes a larger one, and memory is shared."""


class LocalContext:
    """The Context of one process. `threads` is set for torch and OpenCV, which would otherwise take every core.

    roots: source stage -> where its data set is now (pipeline.base.dataset_uri).
    """

    def __init__(
        self, store: Store, *, roots: Mapping[str, str] | None = None, device: str = "cpu", threads: int = 1
    ) -> None:
        self.store = store
        self.roots = roots or {}
        self.device = device
        self.threads = threads
        self.clock = PhaseClock()
        self._filesystems: dict[str, fsspec.AbstractFileSystem] = {}

    @cached_property
    def _parquet(self) -> ParquetRows:
        return ParquetRows()

    @cached_property
    def _scratch(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="weakbox-")

    @property
    def scratch(self) -> str:
        """A private folder that is removed when the process ends."""
        return self._scratch.name

    def timed(self, phase: str) -> AbstractContextManager[None]:
        """Count the time inside the block as this phase."""
        return self.clock.timed(phase)

    def table(
        self, done: Done, table: str, columns: Sequence[str] | None = None, filters: pc.Expression | None = None
    ) -> pa.Table:
        """One table of a committed result."""
        with self.timed(READ):
            return self.store.table(done, table, columns, filters)

    def blob(self, done: Done, name: str) -> bytes:
        """One blob of a committed result."""
        with self.timed(READ):
            return self.store.blob(done, name)

    def read(self, uri: str, content_hash: str | None = None) -> bytes:
        """The bytes of a file. Raises ChangedError if they are not those expected."""
        return self.read_image({"uri": uri, "offset": None, "length": None, "row": None}, content_hash)

    def read_image(self, place: ImagePlace, content_hash: str | None = None) -> bytes:
        """The bytes of an image: of a file, of a range of one, of a row of a Parquet file. Raises as `read`."""
        with self.timed(READ):
            data = self._image(place)
            if content_hash is not None:
                with CHECKS.timed():
                    found = hashlib.sha256(data).hexdigest()
                if found != content_hash:
                    raise ChangedError("changed since it was listed: run again with dataset.rescan: content")
        return data

    def _image(self, place: ImagePlace) -> bytes:
        if place["row"] is None:
            return self._read(located(place["uri"], self.roots), place["offset"], place["length"])
        uri, _, column = place["uri"].rpartition("#")
        return self._parquet.read(located(uri, self.roots), column, place["row"])

    def _read(self, uri: str, offset: int | None, length: int | None) -> bytes:
        protocol = uri.split("://", 1)[0] if "://" in uri else "file"
        if protocol == "file" and offset is None:
            with open(uri.removeprefix("file://"), "rb", buffering=0) as file:
                if os.fstat(file.fileno()).st_size > _LARGEST:
                    raise ValueError(f"larger than {_LARGEST >> 30} GiB, which no image is")
                return file.readall()
        if protocol not in self._filesystems:
            self._filesystems[protocol] = open_filesystem(uri)[0]
        fs = self._filesystems[protocol]
        end = None if offset is None or length is None else offset + length
        return bytes(retrying(lambda: fs.cat_file(uri, start=offset, end=end)))
