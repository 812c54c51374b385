"""How a JPEG 2000 codestream is divided (ISO/IEC 15444-1, annex A), read without decoding.

A file of some hundred bytes can claim so many precincts and layers that OpenJPEG is busy for hours or takes all memory.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from stages.vision.decoding.iso_boxes import boxes

_SIZE, _STYLE, _START_OF_TILE, _START_OF_DATA, _END = 0xFF51, 0xFF52, 0xFF90, 0xFF93, 0xFFD9
_COMPONENT_STYLE, _OTHER_ORDER = 0xFF53, 0xFF5F
_MOST_SEGMENTS = 200_000
_MOST_COMPONENTS = 4


class Division(NamedTuple):
    """What a decoder prepares. precincts: of all tiles, components and resolutions; packets: precincts x layers."""

    precincts: int
    packets: int


def read_division(data: bytes) -> Division:
    """The division of a codestream, or of the first one in a JP2 file.

    Raises: ValueError, struct.error, IndexError where it is damaged, or divided as photographs never are.
    """
    segments = _segments(data, _codestream(data) + 2)
    main: dict[int, int] = {}
    for marker, start in segments:
        if marker == _START_OF_TILE:
            break
        main[marker] = start
    rest = {marker for marker, _ in segments}
    if {_COMPONENT_STYLE, _OTHER_ORDER} & (main.keys() | rest) or _STYLE in rest:
        raise ValueError("its components or tiles are coded in different ways")
    if _SIZE not in main or _STYLE not in main:
        raise ValueError("no image in it")
    return _division(data, main[_SIZE], main[_STYLE])


def _codestream(data: bytes) -> int:
    """Where the codestream begins."""
    if data.startswith(b"\xff\x4f"):
        return 0
    for box in boxes(data):
        if box.type == b"jp2c":
            return box.start
    raise ValueError("it ends before its image")


def _segments(data: bytes, at: int) -> Iterator[tuple[int, int]]:
    """(marker, start of its contents) in the main header and in the headers of tile-parts; coded data are skipped."""
    tile_end = at
    for _ in range(_MOST_SEGMENTS):
        if at + 4 > len(data):
            return
        marker, length = struct.unpack_from(">HH", data, at)
        if marker == _END:
            return
        if marker == _START_OF_TILE:
            (part,) = struct.unpack_from(">I", data, at + 6)
            tile_end = at + part if part else len(data)
        if marker == _START_OF_DATA:
            at = max(tile_end, at + 2)
            continue
        yield marker, at + 4
        at += 2 + length
    raise ValueError(f"more than {_MOST_SEGMENTS} segments")


def _division(data: bytes, size: int, style: int) -> Division:
    """From the contents of the markers SIZ and COD."""
    _, right, bottom, left, top, across, down, *_, components = struct.unpack_from(">HIIIIIIIIH", data, size)
    if components > _MOST_COMPONENTS or not across or not down:
        raise ValueError(f"{components} components in tiles of {across}x{down}")
    tiles = -(-(right - left) // across) * -(-(bottom - top) // down)
    own, layers, levels = data[style] & 1, *struct.unpack_from(">2xHxB", data, style)
    precincts = 0
    for level in range(levels + 1):
        sides = data[style + 10 + level] if own else 0xFF
        shrunk = levels - level
        wide, high = (min(across, right) >> shrunk) + 1, (min(down, bottom) >> shrunk) + 1
        precincts += ((wide >> (sides & 15)) + 1) * ((high >> (sides >> 4)) + 1)
    total = tiles * components * precincts
    return Division(total, total * layers)
