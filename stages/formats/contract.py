"""The interface of export formats: each turns parts of the images into files and pieces of files."""

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
    """What a part adds to a section of a file that is joined when all parts are done."""

    section: str
    data: bytes


class Pieces(NamedTuple):
    """The pieces of a section, in the order of the parts."""

    section: str
    separator: bytes = b""


class Joined(NamedTuple):
    """A file joined from bytes and pieces. tables: the pieces are Parquet files, to be merged into one."""

    name: str
    content: Sequence[bytes | Pieces]
    tables: bool = False


@dataclass
class Counts:
    """Counts of the export so far, by split: images, boxes, and what is left out.

    flagged: flagged labels left out, by split and flag. without: images left out because they have no box.
    """

    images: dict[str, int] = field(default_factory=dict)
    boxes: dict[str, int] = field(default_factory=dict)
    flagged: dict[str, dict[str, int]] = field(default_factory=dict)
    without: dict[str, int] = field(default_factory=dict)


class Content(NamedTuple):
    """The input of the closing files.

    classes: names by category. description: where the boxes come from. lineage: the same as plain data.
    """

    counts: Counts
    classes: Sequence[str]
    description: str
    lineage: Mapping[str, object]


Made = File | Piece


class Exporter(Protocol):
    """An export format."""

    def part(self, number: int, entries: Sequence[Entry], first: int, read: Read) -> Iterator[Made]:
        """The files and pieces of a part. first: number of boxes in earlier parts. read: gets the bytes to embed."""

    def closing(self, content: Content) -> Iterator[File | Joined]:
        """The files that need all parts."""
