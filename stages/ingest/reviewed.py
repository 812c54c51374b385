"""Boxes that a person drew on images without ground truth, in the CSV that `weakbox review` prepares."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import overload

from pipeline.base.errors import UsageError
from stages.formats.file_names import ByName
from stages.formats.review_csv import COLUMNS
from stages.ingest.listing import ListedFile, read_text
from stages.ingest.readers.boxes_csv import parse_box
from stages.ingest.scan import Box, Found, Scan

__all__ = ["with_reviewed"]

_CORNERS = COLUMNS[1:]
_MOST = 2**26
"""The largest such file, in bytes."""
_TRAIN, _DEV = "train", "dev"


def with_reviewed(scan: Scan, place: str | None) -> Scan:
    """A scan with the boxes of a CSV as ground truth of its images; those of split train move to dev.

    place: a path or URI; None: nothing is changed. A line without corners is an image that is not annotated yet.
    Raises: UsageError for a file that cannot be read, an unknown image, or one that has a true box already.
    """
    if place is None:
        return scan
    boxes = _read(place, [image.image_id for image in scan.images])
    return replace(scan, images=_Reviewed(scan.images, boxes, place))


class _Reviewed(Sequence[Found]):
    """The images of a scan, some of them with boxes."""

    def __init__(self, images: Sequence[Found], boxes: Mapping[str, Sequence[Box]], place: str) -> None:
        self._images, self._boxes, self._place = images, boxes, place

    def __len__(self) -> int:
        return len(self._images)

    @overload
    def __getitem__(self, place: int) -> Found: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Found]: ...
    def __getitem__(self, place: int | slice) -> Found | Sequence[Found]:
        """One image, or some."""
        if isinstance(place, slice):
            return [self._of(image) for image in self._images[place]]
        return self._of(self._images[place])

    def __iter__(self) -> Iterator[Found]:
        return map(self._of, self._images)

    def _of(self, image: Found) -> Found:
        boxes = self._boxes.get(image.image_id)
        if boxes is None:
            return image
        if image.boxes:
            raise UsageError(f"dataset: reviewed: {self._place}: {image.image_id!r} has true boxes already")
        return image._replace(boxes=boxes, split=_DEV if image.split == _TRAIN else image.split)


def _read(place: str, image_ids: Sequence[str]) -> dict[str, list[Box]]:
    reader = csv.DictReader(io.StringIO(read_text(ListedFile(place, place, ""), _MOST)))
    if not set(COLUMNS) <= set(reader.fieldnames or ()):
        raise UsageError(f"dataset: reviewed: {place}: the header must have {','.join(COLUMNS)}")
    names, boxes = ByName(dict.fromkeys(image_ids)), dict[str, list[Box]]()
    for row in reader:
        if any(row[name] for name in _CORNERS):
            where = f"dataset: reviewed: {place}, line {reader.line_num}"
            box = parse_box([row[name] for name in _CORNERS], row["image_id"], where)
            image_id = names.key(row["image_id"])
            if image_id is None:
                raise UsageError(f"{where}: there is no image {row['image_id']!r}")
            boxes.setdefault(image_id, []).append(box)
    return boxes
