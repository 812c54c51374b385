"""The tags in the first directory of a TIFF file; EXIF data have the same form.

Only requested values are read, so a directory that claims gigabytes costs nothing.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}
"""TIFF type -> struct's letter, of the types that hold unsigned integers."""
_MOST_ENTRIES = 4096
MOST_VALUES = 200_000
"""Most values of one tag that are read: a palette of 16 bits has 196,608."""


class Entry(NamedTuple):
    """One tag: the TIFF type and the number of its values. at: where its entry is in the file; where: its values."""

    tag: int
    type: int
    number: int
    at: int
    where: int


@dataclass(frozen=True)
class Layout:
    """The widths of numbers: of TIFF, or of BigTIFF. order: struct's sign of the byte order."""

    order: Literal["<", ">"]
    big: bool

    @property
    def count(self) -> struct.Struct:
        """The number of entries, before them."""
        return struct.Struct(self.order + ("Q" if self.big else "H"))

    @property
    def entry(self) -> struct.Struct:
        """Tag, type and count of an entry; its values or their place follow."""
        return struct.Struct(self.order + ("HHQ" if self.big else "HHI"))

    @property
    def offset(self) -> struct.Struct:
        """A place in the file."""
        return struct.Struct(self.order + ("Q" if self.big else "I"))


class Directory:
    """The first directory of TIFF data. Raises ValueError where there is none, struct.error where it is cut short."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.layout = _layout(data)
        (self.start,) = self.layout.offset.unpack_from(data, 8 if self.layout.big else 4)
        if self.start > len(data):
            raise ValueError("it ends before its directory")
        (count,) = self.layout.count.unpack_from(data, self.start)
        if count > _MOST_ENTRIES:
            raise ValueError(f"a directory of {count} tags")
        self.entries = {entry.tag: entry for entry in self._entries(count)}

    def values(self, tag: int) -> tuple[int, ...]:
        """The unsigned integers of a tag, the first MOST_VALUES of them.

        Empty if the tag is absent, of another type, or beyond the end of the data.
        """
        entry = self.entries.get(tag)
        letter = _INTEGERS.get(entry.type) if entry else None
        if entry is None or letter is None:
            return ()
        count = min(entry.number, MOST_VALUES)
        if entry.where + count * size_of(entry.type) > len(self._data):
            return ()
        return struct.unpack_from(f"{self.layout.order}{count}{letter}", self._data, entry.where)

    def value(self, tag: int, otherwise: int = 0) -> int:
        """The first integer of a tag; `otherwise` without one."""
        return next(iter(self.values(tag)), otherwise)

    def _entries(self, count: int) -> Iterator[Entry]:
        head, offset = self.layout.entry, self.layout.offset
        at = self.start + self.layout.count.size
        for _ in range(count):
            tag, kind, number = head.unpack_from(self._data, at)
            inside = at + head.size
            fits = number * size_of(kind) <= offset.size
            yield Entry(tag, kind, number, at, inside if fits else offset.unpack_from(self._data, inside)[0])
            at = inside + offset.size


def size_of(kind: int) -> int:
    """Bytes of one value of a TIFF type; 1 of an unknown type."""
    return {3: 2, 8: 2, 4: 4, 9: 4, 11: 4, 13: 4, 5: 8, 10: 8, 12: 8, 16: 8, 17: 8, 18: 8}.get(kind, 1)


def _layout(data: bytes) -> Layout:
    orders: dict[bytes, Literal["<", ">"]] = {b"II": "<", b"MM": ">"}
    order = orders.get(data[:2])
    version = data[2:4] if order == ">" else data[3:1:-1]
    if order is None or version not in (b"\0*", b"\0+"):
        raise ValueError("no TIFF data")
    return Layout(order, version == b"\0+")
