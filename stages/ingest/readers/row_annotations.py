"""The class and the boxes of an image in a table row or a JSON object, parsed and checked."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from stages.formats.file_names import normalised
from stages.ingest.multi_label import MultiLabel, class_by_area, half_open, total_area
from stages.ingest.scan import Box

LABELS = ("label", "class", "cls")
"""Default names of a column or key of classes."""
_CORNERS = ("x0", "y0", "x1", "y1")
_BBOX, _CATEGORY = ("bbox", "bboxes", "boxes"), ("category", "categories", "label", "labels", "category_id")
OBJECT_KEYS = frozenset((*_BBOX, *_CATEGORY))
"""Keys of objects that are read."""
_HUGE = 1e30
_DIGITS = 9
"""The most characters of a text that may be the number of a named class."""


class Rules(NamedTuple):
    """A reader's options for annotations.

    names: class names by number; empty: the number itself is the name. multi_label: what becomes of images with objects
    of several categories. skip_empty: leave out boxes without area instead of refusing them.
    """

    names: Sequence[str] = ()
    multi_label: MultiLabel = "skip"
    skip_empty: bool = False


def label_text(value: Json, names: Sequence[str], where: str) -> str | None:
    """The class as text; None for null, NaN, an empty text, and for -1 where numbers have names.

    Where there are names, a text that is not one of them but a number counts as that number.

    Raises: UsageError for a value that is no text and no integer, or a number without a name.
    """
    if isinstance(value, float) and (value.is_integer() or math.isnan(value)):
        value = None if math.isnan(value) else int(value)
    if isinstance(value, str):
        value = normalised(value.strip())
        if not names or value in names or len(value) > _DIGITS or not value.removeprefix("-").isdecimal():
            return value or None
        value = int(value)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"{where}: a class must be a text or an integer, not {value!r:.40}")
    if not names:
        return str(value)
    if not -1 <= value < len(names):
        raise UsageError(f"{where}: class {value}, and there are {len(names)} names")
    return None if value == -1 else normalised(names[value])


def corner_boxes(value: Json, where: str) -> list[Box]:
    """Boxes given as lists x0, y0, x1, y1, or as objects with these keys: half-open pixels. Raises UsageError."""
    boxes = []
    for given in _list(value, "boxes", where):
        corners = [given.get(name) for name in _CORNERS] if isinstance(given, Mapping) else given
        x0, y0, x1, y1 = _four(corners, where)
        if not (x0 < x1 and y0 < y1):
            raise UsageError(f"{where}: the box {[x0, y0, x1, y1]} has no area")
        if x0 >= 0 and y0 >= 0 and x1 <= 1 and y1 <= 1 and (x0, y0, x1, y1) != (0, 0, 1, 1):
            raise UsageError(f"{where}: the box {[x0, y0, x1, y1]} lies within 0 and 1: pixels are expected")
        boxes.append((x0, y0, x1, y1))
    return boxes


def object_boxes(objects: Json, rules: Rules, where: str) -> list[tuple[Json, Box]]:
    """The category, None where none is given, and the box [x, y, width, height] in pixels of each object.

    objects: an object of lists ``{bbox: [...], category: [...]}``, or a list of objects, as Hugging Face writes them.
    Raises: UsageError.
    """
    found: list[tuple[Json, Box]] = []
    for category, given in _pairs(objects, where):
        x, y, width, height = _four(given, where)
        if width > 0 and height > 0:
            found.append((category, (x, y, width, height)))
        elif not rules.skip_empty:
            raise UsageError(f"{where}: the box {[x, y, width, height]} has no area (empty_boxes: skip leaves it out)")
    return found


def boxes_of_objects(objects: Sequence[tuple[Json, Box]]) -> list[Box]:
    """The boxes of all objects as half-open x0, y0, x1, y1."""
    return [half_open(box) for _, box in objects]


def class_of_objects(
    objects: Sequence[tuple[Json, Box]], rules: Rules, where: str
) -> tuple[str, list[Box]] | Literal["none", "several"]:
    """The class of an image by the categories of its objects, with the half-open boxes of that class.

    "none": no object has a category; "several": there are several categories, to be skipped. Raises: UsageError.
    """
    by_name: dict[str, list[Box]] = {}
    for category, box in objects:
        name = label_text(category, rules.names, where)
        if name is not None:
            by_name.setdefault(name, []).append(box)
    chosen = class_by_area({name: total_area(own) for name, own in by_name.items()}, rules.multi_label)
    if chosen is None:
        return "several" if by_name else "none"
    return chosen, [half_open(box) for box in by_name[chosen]]


def _pairs(objects: Json, where: str) -> list[tuple[Json, Json]]:
    """(category, bbox) of each object."""
    if objects is None:
        return []
    if isinstance(objects, Mapping):
        boxes = _list(_first(objects, _BBOX), "bbox", where)
        categories = _first(objects, _CATEGORY)
        named = [None] * len(boxes) if categories is None else _list(categories, "category", where)
        if len(named) != len(boxes):
            raise UsageError(f"{where}: {len(boxes)} boxes, and {len(named)} categories")
        return list(zip(named, boxes, strict=True))
    found = []
    for each in _list(objects, "objects", where):
        if not isinstance(each, Mapping):
            raise UsageError(f"{where}: objects must have bbox and category, not be {each!r:.40}")
        found.append((_first(each, _CATEGORY), _first(each, _BBOX)))
    return found


def _first(values: Mapping[str, Json], names: Sequence[str]) -> Json:
    return next((values[name] for name in names if name in values), None)


def _list(value: Json, what: str, where: str) -> Sequence[Json]:
    if value is None:
        return []
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise UsageError(f"{where}: {what} must be a list, not {value!r:.40}")
    return value


def _four(value: Json, where: str) -> list[float]:
    given = value if isinstance(value, Sequence) and not isinstance(value, str) else []
    numbers = [float(n) for n in given if isinstance(n, int | float) and -_HUGE < n < _HUGE]
    if not len(numbers) == len(given) == 4:
        raise UsageError(f"{where}: a box of four numbers was expected, not {value!r:.80}")
    return numbers
