"""Reader `csv`: a table of images, one line per image or per box.

    root/images.csv
        path,label,split,x0,y0,x1,y1
        photos/1.jpg,dog,train,10,20,110,120
        s3://bucket/2.jpg,cat,val,,,,

Columns are found by the names in the first line, in any order and case; others are ignored. An image is a path below
the root, an absolute path or a URI, which is also its id; for a file below the root the id is always the path. Boxes
are half-open pixels of the image as viewers show it (EXIF orientation applied). A missing file is quarantined.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.base.errors import UsageError
from pipeline.base.params import option
from stages.formats.file_names import ByName, left_out, may_be_image, normalised
from stages.ingest.listing import ListedFile, list_files, read_text
from stages.ingest.named_files import files_of, path_of
from stages.ingest.reader import Reader, ReaderParams
from stages.ingest.readers.boxes_csv import parse_box
from stages.ingest.recognition import Match, Tree
from stages.ingest.scan import Box, Found, Scan
from stages.ingest.split_names import split_word

__all__ = ["CsvParams", "CsvReader"]

_TABLE = "images.csv"
_PATH, _LABEL = ("path", "uri", "file_name", "filename", "image"), ("label", "class")
_SPLIT, _CORNERS = "split", ("x0", "y0", "x1", "y1")
_MOST = 2 * 2**30


@dataclass(frozen=True)
class CsvParams(ReaderParams):
    """Parameters of reader `csv`."""

    file: str = option(
        _TABLE, "table of the images: a path below the root, an absolute path or a URI; columns path (uri, file_name,"
        " filename, image), label (class), optionally split and x0, y0, x1, y1; with commas, semicolons or tabs",
        by_content=True,
    )  # fmt: skip


class CsvReader(Reader[CsvParams]):
    """A table of images with their classes."""

    name = "csv"
    Params = CsvParams

    @property
    def displayed(self) -> bool:
        """True: people draw boxes on the image that a viewer shows."""
        return True

    def scan(self) -> Scan:
        """List the images of the table.

        Raises:
            UsageError: a missing root or table, a header without path and label, a line with too few or too many
                values, a path that climbs out of the root, no class, an unknown split, a bad box, contradictory lines
                of one image; the line is named.
        """
        files = list_files(self.params.root)
        name = self.params.file
        images = _images(read_text(_table(name, self.params.root, files), _MOST), name, self.params.root)
        if not images:
            raise UsageError(f"dataset: {name}: there are no images in it")
        found = [_found(file, images[path]) for path, file in files_of(images, files).items()]
        taken = {image.uri for image in found} | {name}
        beside = [file.path for file in files if file.path not in taken]
        unnamed = sum(map(may_be_image, beside))
        words = [f"{unnamed} files that {name} does not name"] if unnamed else []
        return Scan.of(found, words + left_out(path for path in beside if not may_be_image(path)))

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """images.csv at the root, with the columns of images and classes."""
        if tree.is_file or _TABLE not in tree.files():
            return None
        header = _header(tree.head(_TABLE).decode("utf-8-sig", "replace").split("\n", 1)[0])
        lacks = [names[0] for names in (_PATH, _LABEL) if not set(header) & set(names)]
        if len(lacks) == 2:
            return None
        return Match(_TABLE, missing=f"a column {lacks[0]} in {_TABLE}" if lacks else "")


class _Image(NamedTuple):
    """The annotation of an image. boxes: None where the table has no columns of boxes."""

    label: str
    split: str
    boxes: list[Box] | None


class _Columns(NamedTuple):
    """The indices of the columns in a line. corners: four or none."""

    path: int
    label: int
    split: int | None
    corners: Sequence[int]


def _images(text: str, name: str, root: str) -> dict[str, _Image]:
    """Path -> annotation of the image. Raises UsageError."""
    images: dict[str, _Image] = {}
    for where, columns, values in _lines(text, f"dataset: {name}"):
        shown = values[columns.path]
        path = path_of(shown, root, where)
        label = normalised(values[columns.label].strip())
        if not label:
            raise UsageError(f"{where}: {shown!r:.200} has no class")
        split = split_word(values[columns.split], where) if columns.split is not None else "train"
        corners = [values[place].strip() for place in columns.corners]
        boxes = [parse_box(list(corners), shown, where)] if any(corners) else []
        known = images.get(path)
        if known is None:
            images[path] = _Image(label, split, boxes if columns.corners else None)
        elif (known.label, known.split) != (label, split):
            raise UsageError(f"{where}: {shown!r:.200} is {label}, {split} here and {known.label}, {known.split} above")
        elif known.boxes is None or not boxes:
            raise UsageError(f"{where}: {shown!r:.200} is there twice, and this line has no box")
        else:
            known.boxes.extend(boxes)
    return images


def _lines(text: str, where: str) -> Iterator[tuple[str, _Columns, list[str]]]:
    """For each line: its place for errors, the columns, and its values. Raises UsageError."""
    first = text.split("\n", 1)[0]
    header = _header(first)
    columns = _columns(header, where)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(first))
    try:
        next(lines)
        for values in lines:
            here = f"{where}, line {lines.line_num}"
            if values and len(values) != len(header):
                raise UsageError(f"{here}: {len(header)} values were expected, found {len(values)}")
            if values:
                yield here, columns, values
    except csv.Error as error:
        raise UsageError(f"{where}, line {lines.line_num}: {error}") from error


def _columns(header: Sequence[str], where: str) -> _Columns:
    """Find the columns. Raises UsageError for no column of images or classes, a name twice, or missing corners."""
    path = next((header.index(name) for name in _PATH if name in header), None)
    label = next((header.index(name) for name in _LABEL if name in header), None)
    corners = [header.index(name) for name in _CORNERS if name in header]
    if path is None or label is None:
        raise UsageError(f"{where}: its first line must have columns path ({', '.join(_PATH[1:])}) and label (class)")
    used = {*_PATH, *_LABEL, _SPLIT, *_CORNERS}
    twice = [name for name in used if header.count(name) > 1]
    if twice or len(corners) not in (0, 4):
        raise UsageError(f"{where}: column {twice[0]} twice" if twice else f"{where}: boxes need x0, y0, x1 and y1")
    return _Columns(path, label, header.index(_SPLIT) if _SPLIT in header else None, corners)


def _delimiter(first: str) -> str:
    """The most frequent of comma, semicolon and tab in the first line."""
    return max(",;\t", key=first.count)


def _header(first: str) -> list[str]:
    """The names of the columns, in lower case."""
    row = next(csv.reader([first], delimiter=_delimiter(first)), [])
    return [name.strip().lower() for name in row]


def _table(name: str, root: str, files: Sequence[ListedFile]) -> ListedFile:
    if Tree(root).is_file:
        raise UsageError(f"dataset: root {root}: a folder was expected, of which `file` names a table")
    if name.startswith("/") or "://" in name:
        return ListedFile(name, name, "")
    file = ByName({file.path: file for file in files}).get(name)
    if file is None:
        raise UsageError(f"dataset: file: there is no table {name!r} below the root {root}")
    return file


def _found(file: ListedFile, said: _Image) -> Found:
    return Found(file.path, file.path, file.stamp, *said, trouble=file.trouble)
