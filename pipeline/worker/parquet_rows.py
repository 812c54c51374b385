"""Single rows of Parquet files, read by the row group that holds them: images that lie in a table."""

import bisect
import itertools
from collections import OrderedDict
from threading import Lock
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store.files import open_filesystem, retrying

_KEPT = 4
"""Row groups and open files that are kept: workers read rows nearly in order, with a few threads."""


class _Open(NamedTuple):
    """file: opened. ends: after which row each row group ends."""

    file: pq.ParquetFile
    ends: list[int]


class ParquetRows:
    """Values of one column by their row number, counted over the whole file. Threads may share it."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, _Open] = OrderedDict()
        self._groups: OrderedDict[tuple[str, int, str], pa.Array] = OrderedDict()
        self._lock = Lock()

    def read(self, uri: str, column: str, row: int) -> bytes:
        """The bytes in a row. column: its name, with dots inside structs (``image.bytes``).

        Raises: ValueError for a row without a value, a missing column, a file that is no Parquet or is damaged;
            OSError of the storage.
        """
        with self._lock:
            try:
                value = self._value(uri, column, row)
            except pa.ArrowInvalid as error:
                raise ValueError(f"damaged: {error}") from error
        if not isinstance(value, bytes):
            raise ValueError(f"row {row} has no bytes in column {column}")
        return value

    def _value(self, uri: str, column: str, row: int) -> object:
        opened = self._opened(uri)
        group = bisect.bisect_right(opened.ends, row)
        if not row >= 0 or group == len(opened.ends):
            raise ValueError(f"there is no row {row}: the file has {opened.ends[-1] if opened.ends else 0}")
        start = opened.ends[group - 1] if group else 0
        return self._group(uri, opened, group, column)[row - start].as_py()

    def _opened(self, uri: str) -> _Open:
        if uri not in self._files:
            fs, path = open_filesystem(uri)
            file = retrying(lambda: pq.ParquetFile(fs.open(path, "rb", cache_type="none"), pre_buffer=False))
            sizes = (file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups))
            self._files[uri] = _Open(file, list(itertools.accumulate(sizes)))
            if len(self._files) > _KEPT:
                _, (old, _) = self._files.popitem(last=False)
                old.close(force=True)
        self._files.move_to_end(uri)
        return self._files[uri]

    def _group(self, uri: str, opened: _Open, group: int, column: str) -> pa.Array:
        key = (uri, group, column)
        if key not in self._groups:
            table = retrying(lambda: opened.file.read_row_group(group, columns=[column], use_threads=False))
            self._groups[key] = _leaf(table, column)
            if len(self._groups) > _KEPT:
                self._groups.popitem(last=False)
        self._groups.move_to_end(key)
        return self._groups[key]


def _leaf(table: pa.Table, column: str) -> pa.Array:
    """The values of a column, or of a field of a struct. Raises ValueError where there is none."""
    top, *fields = column.split(".")
    if top not in table.column_names:
        raise ValueError(f"there is no column {column}")
    values = table.column(top).combine_chunks()
    for name in fields:
        values = values.field(name)
    return values
