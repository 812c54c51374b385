"""Where the values of a Parquet column of bytes lie, if they are stored plain and not compressed.

That is how Hugging Face's `datasets` writes images, with an index of pages: then an image is a range of the file. Data
pages, levels and the offset index are as in https://parquet.apache.org/docs/file-format/.
"""

from array import array
from typing import NamedTuple

from pyarrow.parquet import ColumnChunkMetaData, ColumnSchema

from pipeline.worker.compact_thrift import Value, read_struct

_PLAIN = 0
_PAGE, _PAGE_V2 = 0, 3
_HEADER_OF = {_PAGE: 5, _PAGE_V2: 8}
"""Type of a data page -> the field of its header that describes it."""


class DamagedPageError(ValueError):
    """An index or a page that does not follow the format."""


class Page(NamedTuple):
    """A data page. offset, length: in the file, with its header. first: its first row in the row group."""

    offset: int
    length: int
    first: int


class Values(NamedTuple):
    """The values of a page, one a row. starts: where each begins in the page. lengths: its bytes, -1 for null."""

    starts: "array[int]"
    lengths: "array[int]"


def is_plain(chunk: ColumnChunkMetaData, column: ColumnSchema) -> bool:
    """Whether the values of a column chunk can be found as ranges of the file."""
    return (
        chunk.physical_type == "BYTE_ARRAY"
        and chunk.compression == "UNCOMPRESSED"
        and column.max_repetition_level == 0
        and not chunk.has_dictionary_page
        and set(chunk.encodings) <= {"PLAIN", "RLE", "BIT_PACKED"}
        and bool(chunk.has_offset_index)
    )


def index_place(footer: dict[int, Value], group: int, column: int) -> tuple[int, int]:
    """Offset and length of the offset index of a column chunk, of a file's footer. Raises DamagedPageError."""
    groups = _structs(footer, 4)
    chunks = _structs(groups[group], 1) if group < len(groups) else []
    if column >= len(chunks):
        raise DamagedPageError("a footer without the column")
    return _number(chunks[column], 4), _number(chunks[column], 5)


def pages_of(index: bytes) -> list[Page]:
    """The data pages that an offset index names, in the order of their rows. Raises DamagedPageError."""
    pages = [Page(_number(at, 1), _number(at, 2), _number(at, 3)) for at in _structs(read_struct(index)[0], 1)]
    firsts = [page.first for page in pages]
    if not pages or firsts[0] != 0 or firsts != sorted(set(firsts)):
        raise DamagedPageError("an index of pages that are not in the order of their rows")
    return pages


def values_of(page: bytes, max_level: int) -> Values:
    """The values of a whole data page, with its header. max_level: definition level of values that are not null.

    Raises: DamagedPageError.
    """
    header, start = read_struct(page)
    kind = _number(header, 1)
    said = header.get(_HEADER_OF.get(kind, -1))
    if not isinstance(said, dict):
        raise DamagedPageError(f"a page of type {kind} among data pages")
    count = _number(said, 1)
    if _number(said, 4 if kind == _PAGE_V2 else 2) != _PLAIN:
        raise DamagedPageError("a page that is not plain")
    if kind == _PAGE_V2:
        levels, start = page[start : start + _number(said, 5)], start + _number(said, 5) + _number(said, 6)
    elif max_level:
        size = int.from_bytes(page[start : start + 4], "little")
        levels, start = page[start + 4 : start + 4 + size], start + 4 + size
    else:
        levels = b""
    there = _levels(levels, max_level.bit_length(), count) if max_level else [0] * count
    return _values(page, start, [level == max_level for level in there])


def _values(page: bytes, start: int, there: list[bool]) -> Values:
    """The places of consecutive values, each after its length in four bytes."""
    found = Values(array("q"), array("q"))
    for present in there:
        length = int.from_bytes(page[start : start + 4], "little") if present else -1
        start += 4 if present else 0
        found.starts.append(start)
        found.lengths.append(length)
        start += max(length, 0)
    if start > len(page):
        raise DamagedPageError("values that go beyond their page")
    return found


def _levels(data: bytes, width: int, count: int) -> list[int]:
    """Levels of `width` bits in runs and bit-packed groups of eight."""
    found: list[int] = []
    at = 0
    while len(found) < count:
        head, at = _varint(data, at)
        if head & 1:
            size = (head >> 1) * width
            packed = int.from_bytes(data[at : at + size], "little")
            number = min((head >> 1) * 8, count - len(found))
            found += [packed >> i * width & (1 << width) - 1 for i in range(number)]
        else:
            size = -(-width // 8)
            found += [int.from_bytes(data[at : at + size], "little")] * min(head >> 1, count - len(found))
        at += size
        if at > len(data) or not head >> 1:
            raise DamagedPageError("levels that end too early")
    return found


def _varint(data: bytes, start: int) -> tuple[int, int]:
    number = 0
    for place, byte in enumerate(data[start : start + 5]):
        number |= (byte & 127) << 7 * place
        if byte < 128:
            return number, start + place + 1
    raise DamagedPageError("levels that end too early")


def _structs(struct: dict[int, Value], field: int) -> list[dict[int, Value]]:
    value = struct.get(field)
    if not isinstance(value, list):
        raise DamagedPageError("an index that does not follow the format")
    return [each for each in value if isinstance(each, dict)]


def _number(struct: dict[int, Value], field: int) -> int:
    value = struct.get(field)
    if not isinstance(value, int) or value < 0:
        raise DamagedPageError("a header that does not follow the format")
    return value
