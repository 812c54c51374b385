"""The images in tables: ids, storage locations, classes, boxes and splits of rows, and why rows are left out."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from pipeline.store.paths import has_control
from stages.formats.file_names import normalised
from stages.ingest.listing import ListedFile
from stages.ingest.named_files import files_of, path_of
from stages.ingest.readers.table_columns import Columns, TableParams, annotated
from stages.ingest.scan import Box, Found
from stages.ingest.split_names import split_word

_NO_IMAGE = "there is no image in this row"


class Stored(NamedTuple):
    """Where a table has the bytes of an image; fields as in `Found`. row_id: the table's path and the row's number."""

    row_id: str
    uri: str
    stamp: str
    offset: int | None = None
    length: int | None = None
    row: int | None = None


class _Said(NamedTuple):
    label: str
    split: str
    boxes: list[Box] | None


class TableImages:
    """Collects the images of tables.

    The id of an image whose bytes are in a table is the file name in its row, if that is a valid path and no other row
    has it, else the table's path and the row's number. The id of an image file is its path.

    files: the paths of all files that tables name, complete once the iterator of `images` is exhausted.
    """

    def __init__(self, params: TableParams) -> None:
        self._params = params
        self._found: list[Found] = []
        self._names: list[str | None] = []
        self._named: dict[str, _Said | None] = {}
        self.files: set[str] = set()
        self._left_out: Counter[str] = Counter()

    def add_stored(
        self, name: str | None, stored: Stored, split: str, row: Mapping[str, Json], columns: Columns, where: str
    ) -> None:
        """Add an image whose bytes are in a table. name: its file name in the table. Raises UsageError."""
        said = self._said(row, columns, split, where)
        if said is not None:
            row_id, uri, stamp, offset, length, number = stored
            self._found.append(Found(row_id, uri, stamp, *said, offset=offset, length=length, row=number))
            self._names.append(normalised(name) if name is not None and _is_proper(name) else None)

    def add_file(
        self, name: str, folder: str, split: str, row: Mapping[str, Json], columns: Columns, where: str
    ) -> None:
        """Add an image file. name: a path below `folder`, an absolute path or a URI. Raises UsageError."""
        path = path_of(name, self._params.root, where, folder)
        if path in self._named:
            raise UsageError(f"{where}: {name!r:.200} is named twice")
        self._named[path] = self._said(row, columns, split, where)

    def add_nothing(self, stored: Stored, split: str, row: Mapping[str, Json], columns: Columns, where: str) -> None:
        """Add a row without an image, which will be quarantined. Raises UsageError."""
        said = self._said(row, columns, split, where)
        if said is not None:
            self._found.append(Found(stored.row_id, stored.uri, stored.stamp, *said, row=stored.row, trouble=_NO_IMAGE))
            self._names.append(None)

    def images(self, listed: Sequence[ListedFile]) -> Iterator[Found]:
        """All images. listed: all files below the root. Raises UsageError for a storage that does not answer."""
        rows_of = Counter(self._names)
        for found, name in zip(self._found, self._names, strict=True):
            yield found if name is None or rows_of[name] > 1 else found._replace(image_id=name)
        for path, file in files_of(self._named, listed).items():
            self.files.add(file.path)
            said = self._named[path]
            if said is not None:
                yield Found(file.path, file.path, file.stamp, *said, trouble=file.trouble)

    def left_out(self) -> list[str]:
        """In words: rows that are left out."""
        words = {"none": "images without a class", "several": "images with objects of several categories (multi_label)"}
        return [f"{self._left_out[why]} {what}" for why, what in words.items() if self._left_out[why]]

    def _said(self, row: Mapping[str, Json], columns: Columns, split: str, where: str) -> _Said | None:
        """The annotation of an image; None for an image that is left out, which is counted."""
        said = annotated(row, columns, self._params, where)
        if isinstance(said, str):
            self._left_out[said] += 1
            return None
        own = None if columns.split is None else row.get(columns.split)
        if columns.split is not None and not isinstance(own, str):
            raise UsageError(f"{where}: a split must be a text, not {own!r:.40}")
        return _Said(said[0], split if own is None else split_word(str(own), where), said[1])


def _is_proper(name: str) -> bool:
    """Whether a name is a valid path below a root."""
    odd = has_control(name)
    return not odd and "\\" not in name and "://" not in name and not {"", ".", ".."} & set(name.split("/"))
