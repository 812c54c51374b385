"""Boxes of ISO base media files (HEIC, AVIF, JPEG 2000), and the image items of HEIC and AVIF.

ISO/IEC 14496-12 (boxes), 23008-12 (image items and their properties).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

_MOST_BOXES = 20_000


class Box(NamedTuple):
    """A box: its type, and where its contents begin and end."""

    type: bytes
    start: int
    end: int


@dataclass
class Items:
    """The image items of a file. primary: id of the main item.

    kinds, properties, parts: item id -> its type, its property boxes, and the items that it is composed of, in order.
    """

    primary: int = 0
    kinds: dict[int, bytes] = field(default_factory=dict)
    properties: dict[int, list[Box]] = field(default_factory=dict)
    parts: dict[int, list[int]] = field(default_factory=dict)


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """The boxes in a range of bytes, one after another. Raises ValueError for a box that ends outside."""
    end = len(data) if end is None else end
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        length, kind = struct.unpack_from(">I4s", data, start)
        body = start + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, body)
            body += 8
        stop = end if length == 0 else start + length
        if not body <= stop <= end:
            raise ValueError(f"it ends inside of its box {kind.decode('latin-1')!r}")
        yield Box(kind, body, stop)
        start = stop
    raise ValueError(f"more than {_MOST_BOXES} boxes")


def image_items(data: bytes) -> Items:
    """The image items, from box `meta`. Raises ValueError or struct.error for damaged boxes."""
    meta = next((box for box in boxes(data) if box.type == b"meta"), None)
    if meta is None:
        raise ValueError("there is no primary image")
    items = Items()
    for box in boxes(data, meta.start + 4, meta.end):
        if box.type == b"pitm":
            (items.primary,) = struct.unpack_from(">I" if data[box.start] else ">H", data, box.start + 4)
        elif box.type == b"iinf":
            items.kinds = dict(_kinds(data, box))
        elif box.type == b"iprp":
            items.properties = _properties(data, box)
        elif box.type == b"iref":
            items.parts = dict(_parts(data, box))
    return items


def size_of(data: bytes, items: Items, item: int) -> tuple[int, int]:
    """(width, height) of an item as stored; (0, 0) if unknown."""
    for box in items.properties.get(item, ()):
        if box.type == b"ispe":
            width, height = struct.unpack_from(">II", data, box.start + 4)
            return width, height
    return 0, 0


def _kinds(data: bytes, box: Box) -> Iterator[tuple[int, bytes]]:
    for entry in boxes(data, box.start + (8 if data[box.start] else 6), box.end):
        version = data[entry.start]
        if entry.type == b"infe" and version >= 2:
            number, kind = struct.unpack_from(">I2x4s" if version > 2 else ">H2x4s", data, entry.start + 4)
            yield number, kind


def _properties(data: bytes, box: Box) -> dict[int, list[Box]]:
    known: list[Box] = []
    found: dict[int, list[Box]] = {}
    for part in boxes(data, box.start, box.end):
        if part.type == b"ipco":
            known = list(boxes(data, part.start, part.end))
        elif part.type == b"ipma":
            for item, places in _associations(data, part):
                found[item] = [known[place - 1] for place in places if 0 < place <= len(known)]
    return found


def _associations(data: bytes, box: Box) -> Iterator[tuple[int, list[int]]]:
    version, wide = data[box.start], data[box.start + 3] & 1
    head = struct.Struct(">IB" if version else ">HB")
    (count,) = struct.unpack_from(">I", data, box.start + 4)
    at = box.start + 8
    for _ in range(min(count, _MOST_BOXES)):
        item, number = head.unpack_from(data, at)
        at += head.size
        places = struct.unpack_from(f">{number}{'H' if wide else 'B'}", data, at)
        at += number * (2 if wide else 1)
        yield item, [place & (0x7FFF if wide else 0x7F) for place in places]


def _parts(data: bytes, box: Box) -> Iterator[tuple[int, list[int]]]:
    letter, width = ("I", 4) if data[box.start] else ("H", 2)
    for part in boxes(data, box.start + 4, box.end):
        if part.type == b"dimg":
            item, count = struct.unpack_from(f">{letter}H", data, part.start)
            yield item, list(struct.unpack_from(f">{count}{letter}", data, part.start + width + 2))
