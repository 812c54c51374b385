"""What a format is: a part of the images in, files and pieces of files out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from stages.formats.entries import Entry, Picture

__all__ = ["Content", "Counts", "Exporter", "File", "Joined", "Made", "Piece", "Pieces", "Read"]

Read = Callable[[Picture], bytes]
"""The bytes of a picture's file."""


class File(NamedTuple):
    """A file of the export. data: its bytes, or the picture that it is a copy of or a link to."""

    name: str
    data: bytes | Picture


class Piece(NamedTuple):
    """What a part adds to a file, or a section of one, that is joined when all parts are there."""

    section: str
    data: bytes


class Pieces(NamedTuple):
    """The pieces of a section, in the order of the parts."""

    section: str
    separator: bytes = b""


class Joined(NamedTuple):
    """A file that is put together of bytes and pieces; `tables`: of pieces that are Parquet files, as one of these."""

    name: str
    content: Sequence[bytes | Pieces]
    tables: bool = False


@dataclass
class Counts:
    """What was exported so far: images and boxes by split, flagged labels left out by split and flag."""

    images: dict[str, int] = field(default_factory=dict)
    boxes: dict[str, int] = field(default_factory=dict)
    flagged: dict[str, dict[str, int]] = field(default_factory=dict)
    without: dict[str, int] = field(default_factory=dict)


class Content(NamedTuple):
    """What the closing files are made of.

    classes: names by category. description: where the boxes come from. parts: how many there are.
    """

    counts: Counts
    classes: Sequence[str]
    description: str
    lineage: Mapping[str, object]
    parts: int


Made = File | Piece


class Exporter(Protocol):
    """A format."""

    def part(self, number: int, entries: Sequence[Entry], first: int, read: Read) -> Iterator[Made]:
        """The files and pieces of a part. first: boxes in the parts before. read: of pictures that are embedded."""

    def closing(self, content: Content) -> Iterator[File | Joined]:
        """The files that need all parts."""
