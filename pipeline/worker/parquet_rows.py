"""Single rows of Parquet files: images that are stored in a table.

Where images are stored plain, with an index of pages, each is a range of the file; a page is read once to find the
ranges of its values. All other tables are decoded one row group after another, each from its start.
"""

import bisect
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from functools import cached_property
from threading import Lock
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.store.ranged_file import RangedFile
from pipeline.worker.compact_thrift import Value, read_struct
from pipeline.worker.kept import Kept
from pipeline.worker.plain_pages import DamagedPageError, Page, Values, index_place, is_plain, pages_of, values_of

T = TypeVar("T")

_FILES, _INDEXES, _VALUES, _STREAMS = 32, 4096, 65536, 4
_PAGES = 64 * 2**20
"""Bytes of pages that are kept, and the largest page that is read whole."""
_WINDOW, _BATCH, _BUFFER = 32 * 2**20, 4 * 2**20, 4 * 2**20
"""Bytes of decoded rows that a row group keeps, of those that are decoded at once, and of one read."""
_TAIL = 8
"""Bytes of a file after its footer: the footer's length and `PAR1`."""


class ParquetRows:
    """Values of one column by their row number, counted over the whole file. Threads may share it.

    Rows that are read nearly in order cost about as many bytes as they hold. In any other order this is so only where
    images are plain, once each page was read; else a row costs half a row group.
    """

    def __init__(self) -> None:
        self._files: Kept[str, _File] = Kept(_FILES)
        self._indexes: Kept[tuple[str, int, int], list[Page]] = Kept(_INDEXES)
        self._values: Kept[tuple[str, int], Values] = Kept(_VALUES)
        self._pages: Kept[tuple[str, int], bytes] = Kept(_PAGES, len)
        self._streams: Kept[tuple[str, int, int], _RowGroup] = Kept(_STREAMS)

    def read(self, uri: str, column: str, row: int) -> bytes:
        """The bytes in a row. column: its name, with dots inside structs (``image.bytes``).

        Raises: ValueError for a row without a value, a missing column, a file that is no Parquet or is damaged;
            OSError of the storage.
        """
        file = self._files.get(uri, lambda: _File(uri))
        group, row_of_group = file.find(row)
        number = file.column(column)
        page = self._page(uri, file, group, number, row_of_group)
        value: object
        if page is not None:
            value = self._plain(uri, file, number, page, row_of_group)
        else:
            stream = self._streams.get((uri, group, number), lambda: _RowGroup(uri, file.metadata, group, column))
            value = stream.value(row_of_group)
        if not isinstance(value, bytes):
            raise ValueError(f"row {row} has no bytes in column {column}")
        return value

    def _page(self, uri: str, file: "_File", group: int, number: int, row: int) -> Page | None:
        """The page of a row; None where its values are no ranges of the file."""
        if not file.is_plain(group, number):
            return None
        pages = self._indexes.get((uri, group, number), lambda: file.pages(group, number))
        page = pages[bisect.bisect_right(pages, row, key=lambda page: page.first) - 1]
        return page if page.length <= _PAGES else None

    def _plain(self, uri: str, file: "_File", number: int, page: Page, row: int) -> bytes | None:
        """A value that is a range of the file: a part of its page, or fetched alone if the page is no longer kept."""
        key = (uri, page.offset)
        data, values = self._pages.peek(key), self._values.peek(key)
        if values is None:
            data = self._pages.get(key, lambda: file.fetch(page.offset, page.length))
            level = file.metadata.schema.column(number).max_definition_level
            values = self._values.get(key, lambda: values_of(data or b"", level))
        if not 0 <= row - page.first < len(values.starts):
            raise DamagedPageError(f"a page without its row {row - page.first}")
        start, length = values.starts[row - page.first], values.lengths[row - page.first]
        if length < 0:
            return None
        return file.fetch(page.offset + start, length) if data is None else data[start : start + length]


class _File:
    """An open file. metadata: its footer. Raises ValueError for a file that is no Parquet; OSError."""

    def __init__(self, uri: str) -> None:
        self.source = RangedFile(uri)
        self.metadata = _decoded(self.source, lambda: pq.read_metadata(self.source))
        sizes = (self.metadata.row_group(i).num_rows for i in range(self.metadata.num_row_groups))
        self._ends = list(itertools.accumulate(sizes))
        self._columns = {self.metadata.schema.column(i).path: i for i in range(self.metadata.num_columns)}

    def find(self, row: int) -> tuple[int, int]:
        """The row group of a row, and which of its rows that is."""
        group = bisect.bisect_right(self._ends, row)
        if row < 0 or group == len(self._ends):
            raise ValueError(f"there is no row {row}: the file has {self._ends[-1] if self._ends else 0}")
        return group, row - (self._ends[group - 1] if group else 0)

    def column(self, path: str) -> int:
        """The number of a column."""
        if path not in self._columns:
            raise ValueError(f"there is no column {path}")
        return self._columns[path]

    def is_plain(self, group: int, column: int) -> bool:
        """Whether the values of a column of a row group are ranges of the file."""
        return is_plain(self.metadata.row_group(group).column(column), self.metadata.schema.column(column))

    def pages(self, group: int, column: int) -> list[Page]:
        """The data pages of such a column of a row group. Raises ValueError, OSError."""
        return pages_of(self.fetch(*index_place(self._footer, group, column)))

    @cached_property
    def _footer(self) -> dict[int, Value]:
        end = self.source.size - _TAIL
        size = int.from_bytes(self.fetch(end, 4), "little")
        return read_struct(self.fetch(end - size, size))[0]

    def fetch(self, offset: int, length: int) -> bytes:
        """A range. Raises DamagedPageError for one that is not in the file; OSError."""
        if offset < 0 or offset + length > self.source.size:
            raise DamagedPageError(f"a range that goes beyond the file: bytes {offset} to {offset + length}")
        return self.source.fetch(offset, offset + length)


class _RowGroup:
    """A column of a row group, decoded from its start as far as rows are asked for; the last of them are kept."""

    def __init__(self, uri: str, metadata: pq.FileMetaData, group: int, column: str) -> None:
        self._source, self._metadata = RangedFile(uri), metadata
        self._group, self._column = group, column
        self._lock = Lock()
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._kept: deque[pa.Array] = deque()
        self._first = self._next = metadata.row_group(group).num_rows
        """The range of kept rows: at first empty and at the end, so that the first read starts the decoding."""

    def value(self, row: int) -> object:
        """The value in a row of the group. Raises ValueError, OSError."""
        with self._lock:
            if row < self._first:
                self._start()
            while row >= self._next:
                self._decode()
            row -= self._first
            for values in self._kept:
                if row < len(values):
                    return values[row].as_py()
                row -= len(values)
        raise ValueError(f"there is no row {row}")

    def _start(self) -> None:
        file = pq.ParquetFile(self._source, metadata=self._metadata, pre_buffer=False, buffer_size=_BUFFER)
        group = self._metadata.row_group(self._group)
        rows = max(1, _BATCH * group.num_rows // max(1, group.total_byte_size))
        self._batches = file.iter_batches(rows, row_groups=[self._group], columns=[self._column], use_threads=False)
        self._kept.clear()
        self._first = self._next = 0

    def _decode(self) -> None:
        batch = _decoded(self._source, lambda: next(self._batches, None))
        if batch is None:
            raise ValueError(f"damaged: row group {self._group} ends at its row {self._next}")
        values = batch.column(0)
        for name in self._column.split(".")[1:]:
            values = pc.struct_field(values, name)
        self._kept.append(values)
        self._next += len(values)
        while len(self._kept) > 1 and sum(kept.nbytes for kept in self._kept) > _WINDOW:
            self._first += len(self._kept.popleft())


def _decoded(source: RangedFile, decode: Callable[[], T]) -> T:
    """Call pyarrow. Raises ValueError for any of its many errors for damaged files; OSError of the storage."""
    try:
        return decode()
    except (pa.ArrowException, OSError) as error:
        if source.failure is not None:
            raise source.failure from error
        raise ValueError(f"damaged, or no Parquet: {error}") from error
