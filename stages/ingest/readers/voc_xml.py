"""Annotation files in the XML of PASCAL VOC, parsed and checked.

The files are untrusted: no DTD, no entities, nothing external, no file of more than 2 MiB.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple
from xml.etree.ElementTree import Element

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from pipeline.base.errors import UsageError
from stages.ingest.listing import ListedFile, read_bytes
from stages.ingest.parsing import finite
from stages.ingest.scan import Box

__all__ = ["Annotation", "Corners", "Object", "half_open", "is_annotation", "parse_annotation", "read_annotations"]

Corners = Literal["one_based", "zero_based", "half_open"]
"""Convention of corners: pixels from 1 (VOC) or from 0, with both corners inside; or half-open pixel edges from 0."""

_MOST = 2 * 2**20
_READERS, _IN_A_ROW, _AT_ONCE = 16, 16, 4096
"""Threads that read, files that a thread reads in one go, and the most files whose content is held."""


class Object(NamedTuple):
    """One object. corners: xmin, ymin, xmax, ymax as they are written; finite, otherwise unchecked."""

    name: str
    corners: Box
    difficult: bool


class Annotation(NamedTuple):
    """The content of a file. filename: as written, "" if absent. size: width and height, None if absent or invalid."""

    filename: str
    size: tuple[float, float] | None
    objects: Sequence[Object]


def is_annotation(head: bytes) -> bool:
    """Whether a file that begins with `head` is an annotation, by its root element."""
    return b"<annotation" in head


def half_open(corners: Box, convention: Corners) -> Box:
    """Corners as half-open x0, y0, x1, y1 in pixels from 0."""
    x0, y0, x1, y1 = corners
    before, after = {"one_based": (1, 0), "zero_based": (0, 1), "half_open": (0, 0)}[convention]
    return x0 - before, y0 - before, x1 + after, y1 + after


def parse_annotation(data: bytes, where: str) -> Annotation:
    """Parse one file. where: what the errors start with.

    Raises:
        UsageError: no XML, or with a DTD or entities; another root element than `annotation`; an object without a name,
            a box, or four finite numbers.
    """
    try:
        root = fromstring(data, forbid_dtd=True)
    except DefusedXmlException as error:
        raise UsageError(f"{where}: a DTD or entities, which no annotation needs") from error
    except (ParseError, ValueError, LookupError) as error:  # the last two come from a bad encoding
        raise UsageError(f"{where}: no XML: {error}") from error
    if root.tag != "annotation":
        raise UsageError(f"{where}: the root element is {root.tag!r:.40}, not 'annotation'")
    objects = [_object(node, f"{where}: object {number}") for number, node in enumerate(root.findall("object"), 1)]
    return Annotation(_text(root, "filename"), _size(root), objects)


def read_annotations(files: Sequence[ListedFile]) -> Iterator[Annotation]:
    """Parse listed files and yield them in order; they are read in parallel, for storage with high latency.

    Raises: UsageError as `read_bytes` and `parse_annotation` do.
    """
    with ThreadPoolExecutor(_READERS) as pool:
        for start in range(0, len(files), _AT_ONCE):
            block = files[start : start + _AT_ONCE]
            parts = [block[first : first + _IN_A_ROW] for first in range(0, len(block), _IN_A_ROW)]
            for read in pool.map(lambda part: [_read(file) for file in part], parts):
                yield from read


def _read(file: ListedFile) -> Annotation:
    return parse_annotation(read_bytes(file, _MOST), f"dataset: {file.path}")


def _object(node: Element, where: str) -> Object:
    """An object by its direct children alone, since the parts of a person (`part`) have names and boxes too."""
    name, box = _text(node, "name"), node.find("bndbox")
    if not name:
        raise UsageError(f"{where}: its name is missing")
    if box is None:
        raise UsageError(f"{where} ({name:.40}): its bndbox is missing")
    x0, y0, x1, y1 = (finite(_text(box, tag), tag, f"{where} ({name:.40})") for tag in ("xmin", "ymin", "xmax", "ymax"))
    return Object(name, (x0, y0, x1, y1), _text(node, "difficult") not in ("", "0"))


def _size(root: Element) -> tuple[float, float] | None:
    """The size of the image; None if it is absent or invalid (some writers put 0 x 0)."""
    try:
        width, height = (float(root.findtext(f"size/{tag}") or 0) for tag in ("width", "height"))
    except ValueError:
        return None
    return (width, height) if width > 0 and height > 0 else None


def _text(node: Element, tag: str) -> str:
    return (node.findtext(tag) or "").strip()
