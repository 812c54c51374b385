"""The chunks of a PNG file (ISO/IEC 15948), walked without decoding."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MOST_CHUNKS = 200_000


class Chunk(NamedTuple):
    """A chunk: its type, and where its contents begin and end. Four bytes of checksum follow."""

    type: bytes
    start: int
    end: int


def chunks(data: bytes) -> Iterator[Chunk]:
    """The chunks up to the end of the image, IEND included; the last may reach beyond the end of the data.

    Raises ValueError where there are too many.
    """
    at = len(SIGNATURE)
    for _ in range(_MOST_CHUNKS):
        if at + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        yield Chunk(kind, at + 8, at + 8 + length)
        if kind == b"IEND":
            return
        at += length + 12
    raise ValueError(f"more than {_MOST_CHUNKS} chunks")
