"""The markers of a JPEG file (ITU-T T.81, annex B), walked without decoding."""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

_START_OF_SCAN, _END = 0xDA, 0xD9
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a length: TEM, RST0 to RST7, SOI."""
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""The marker that ends coded data; inside of these, 255 is followed by 0 or a restart marker."""
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_MOST_SEGMENTS = 20_000


class Frame(NamedTuple):
    """The frame header of a JPEG file. scans: how often the decoder passes over the image."""

    width: int
    height: int
    precision: int
    components: int
    progressive: bool
    scans: int


def header_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of the contents of each segment, up to and including the first start of scan.

    Fill bytes and junk between segments are skipped. Raises ValueError if the data end before it, or if there are too
    many segments.
    """
    at = 2
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None:
            raise ValueError("it ends before its image")
        at = found.start()
        marker = data[at + 1]
        if marker in _BARE:
            at += 2
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        yield marker, at + 4, end
        if marker in (_START_OF_SCAN, _END):
            return
        at = end
    raise ValueError(f"more than {_MOST_SEGMENTS} segments")


def read_frame(data: bytes) -> Frame:
    """The first frame of a file. Raises ValueError, struct.error, IndexError where there is none."""
    frame = None
    for marker, start, end in header_segments(data):
        if marker in _FRAMES:
            frame = marker, *struct.unpack_from(">BHHB", data, start)
        if marker == _START_OF_SCAN and frame is not None:
            kind, precision, height, width, components = frame
            progressive = kind in _PROGRESSIVE
            once = not progressive and data[start] == components
            scans = 1 if once else 1 + _more_scans(data, end)
            return Frame(width, height, precision, components, progressive, scans)
    raise ValueError("no image in it")


def _more_scans(data: bytes, at: int) -> int:
    """The scans that begin after the header of the first one, which ends at `at`."""
    scans = 0
    for _ in range(_MOST_SEGMENTS):
        found = _NEXT_MARKER.search(data, at)
        if found is None or data[found.start() + 1] == _END:
            return scans
        scans += data[found.start() + 1] == _START_OF_SCAN
        at = found.start() + 2 + int.from_bytes(data[found.start() + 2 : found.start() + 4])
    raise ValueError(f"more than {_MOST_SEGMENTS} segments")
