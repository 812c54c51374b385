"""What is exported of one image: the picture and its boxes, both as viewers show them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from stages.vision import masks
from stages.vision.decoding.turning import turned
from stages.vision.exif_frame import displayed_boxes, displayed_size

__all__ = ["Choice", "Entry", "Picture", "entry_of", "picture_of"]

_CORNERS = ("x0", "y0", "x1", "y1")

Row = Mapping[str, Any]
Box = tuple[float, float, float, float]


class Picture(NamedTuple):
    """An image of the export.

    number: its index among all sorted image ids, from 1. category: index of its class, from 0. width, height: pixels of
    the picture as shown. name: stem of its files' names, unique without regard to case. uri: where it is. turn: the
    EXIF orientation that boxes and masks still need to fit the picture as shown; 1: none.
    """

    image_id: str
    number: int
    split: str
    category: int
    class_name: str
    width: int
    height: int
    name: str
    uri: str
    turn: int

    @property
    def suffix(self) -> str:
        """The extension of its file, with the dot; .jpg where the id has none."""
        stem, dot, ending = self.image_id.rsplit("/", 1)[-1].rpartition(".")
        return f".{ending.lower()}" if stem and dot and ending.isalnum() else ".jpg"


class Entry(NamedTuple):
    """A picture with its boxes, best first: half-open corners in its pixels. masks: one per box; None: no masks."""

    picture: Picture
    boxes: Sequence[Box]
    scores: Sequence[float]
    masks: Sequence[masks.Rle] | None
    category: int
    class_name: str
    source: str
    method: str
    flag: str | None

    def first(self, number: int) -> "Entry":
        """The entry with only its best `number` boxes."""
        masks = None if self.masks is None else self.masks[:number]
        return self._replace(boxes=self.boxes[:number], scores=self.scores[:number], masks=masks)


class Choice(NamedTuple):
    """Which boxes are kept: at most `most` per image, with a score of at least `min_score`."""

    most: int | None
    min_score: float | None

    def of_images(self, entries: Sequence[Entry]) -> list[Entry]:
        """The entries with the best boxes of each image, which may have several; entries without a box are dropped."""
        kept: list[Entry] = []
        for _, group in groupby(entries, key=lambda entry: entry.picture):
            own = sorted(group, key=lambda entry: -max(entry.scores, default=-np.inf))
            best = sorted((-score, place) for place, entry in enumerate(own) for score in entry.scores)[: self.most]
            numbers = Counter(place for _, place in best)
            kept += [entry.first(numbers[place]) for place, entry in enumerate(own) if numbers[place]]
        return kept


def picture_of(row: Row, number: int, category: int, split: str, name: str) -> Picture:
    """The picture of a row of the images table."""
    turn = 1 if row["turned"] else row["orientation"] or 1
    width, height = displayed_size(row["width"], row["height"], turn)
    return Picture(row["image_id"], number, split, category, row["label_name"], width, height, name, row["uri"], turn)


def entry_of(picture: Picture, row: Row, choice: Choice, class_name: str, category: int) -> Entry:
    """A row of pseudo_labels or predictions with the chosen boxes, in pixels of the picture as viewers show it.

    category, class_name: of the row's label, which may be a predicted one.
    """
    found, rles = row["boxes"] or (), row.get("masks")
    least = -np.inf if choice.min_score is None else np.float32(choice.min_score)  # as scores are stored
    kept = [place for place, box in enumerate(found) if box["score"] >= least]
    kept = kept[: choice.most]
    corners: Sequence[Box] = [tuple(found[place][name] for name in _CORNERS) for place in kept]
    outlined = None if rles is None else [rles[place] for place in kept]
    if picture.turn != 1:
        width, height = displayed_size(picture.width, picture.height, picture.turn)
        corners = [tuple(box) for box in displayed_boxes(corners, width, height, picture.turn).tolist()]
        if outlined is not None:
            outlined = [masks.encode(turned(masks.decode(rle), picture.turn)) for rle in outlined]
    return Entry(
        picture,
        corners,
        [found[place]["score"] for place in kept],
        outlined,
        category,
        class_name,
        row["source"],
        row["method"],
        row.get("flag"),
    )
