"""One annotation file in the COCO format, parsed and checked: categories, images, and their boxes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from stages.ingest.parsing import parse_json
from stages.ingest.scan import Box

T = TypeVar("T", int, str)

_HUGE = 1e30
"""Limit of coordinates; the comparison also rejects NaN, infinities and integers beyond the range of floats."""


@dataclass(frozen=True)
class CocoFile:
    """The parts of an annotation file that the reader needs.

    categories: id -> name. images: id -> file name. boxes: image id -> category id -> boxes [x, y, width, height] in
    pixels; images without boxes are absent.
    """

    categories: Mapping[int, str]
    images: Mapping[int, str]
    boxes: Mapping[int, Mapping[int, list[Box]]]


def parse_coco(text: str, where: str, *, skip_empty: bool) -> CocoFile:
    """Parse the text of an annotation file. Annotations with `iscrowd: 1` outline groups and are left out.

    where: what the errors start with. skip_empty: leave out boxes without area as well.

    Raises:
        UsageError: no JSON, a missing key, a value of another type, an id or a name twice, an annotation of an unknown
            image or category, an invalid box.
    """
    document = parse_json(text, where, _without_outline)
    if not isinstance(document, dict):
        raise UsageError(f"{where}: an object with images, annotations and categories was expected")
    categories = _names(_records(document, "categories", where), "name")
    images = _names(_records(document, "images", where), "file_name")
    boxes: dict[int, dict[int, list[Box]]] = {}
    for record in _records(document, "annotations", where):
        image, category = record.value("image_id", int), record.value("category_id", int)
        if image not in images:
            raise record.mistake(f"there is no image {image}")
        if category not in categories:
            raise record.mistake(f"there is no category {category}")
        box = None if record.is_crowd() else record.box(skip_empty)
        if box is not None:
            boxes.setdefault(image, {}).setdefault(category, []).append(box)
    return CocoFile(categories, images, boxes)


def _without_outline(values: dict[str, Json]) -> dict[str, Json]:
    """Drop outlines while the file is parsed: they are most of it, and nothing reads them."""
    values.pop("segmentation", None)
    return values


class _Record(NamedTuple):
    """One unchecked object of the file, and where it is: `dataset: instances.json: images[3]`."""

    where: str
    values: Mapping[str, Json]

    def mistake(self, words: str) -> UsageError:
        """The error that names this record."""
        return UsageError(f"{self.where} (id {self.values.get('id')!r:.40}): {words}")

    def value(self, key: str, kind: type[T]) -> T:
        """A value that must be there. Raises UsageError where it is absent, empty or of another type."""
        value = self.values.get(key)
        if value in (None, ""):
            raise self.mistake(f"{key} is missing")
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.mistake(f"{key} must be {'an integer' if kind is int else 'a text'}, not {value!r:.40}")
        return value

    def is_crowd(self) -> bool:
        """Whether it outlines a group of objects. Raises UsageError for an `iscrowd` that is neither 0 nor 1."""
        value = self.values.get("iscrowd", 0)
        if value not in (0, 1):
            raise self.mistake(f"iscrowd must be 0 or 1, not {value!r:.40}")
        return bool(value)

    def box(self, skip_empty: bool) -> Box | None:
        """The box; None if it has no area and is to be skipped. Raises UsageError for any other invalid box."""
        given = self.values.get("bbox")
        numbers = [n for n in given if isinstance(n, int | float)] if isinstance(given, list) else []
        if not isinstance(given, list) or not len(numbers) == len(given) == 4:
            raise self.mistake(f"bbox must be four numbers, not {given!r:.80}")
        x, y, width, height = numbers
        if not all(-_HUGE < n < _HUGE for n in numbers):
            raise self.mistake(f"bbox must be finite, not {given!r:.80}")
        if width > 0 and height > 0:
            return x, y, width, height
        if not skip_empty:
            raise self.mistake(f"the box {given} has no area (empty_boxes: skip leaves such boxes out)")
        return None


def _records(document: Mapping[str, Json], key: str, where: str) -> Iterator[_Record]:
    records = document.get(key)
    if not isinstance(records, list):
        raise UsageError(f"{where}: a list {key!r} was expected")
    for i, values in enumerate(records):
        if not isinstance(values, dict):
            raise UsageError(f"{where}: {key}[{i}] is no object")
        yield _Record(f"{where}: {key}[{i}]", values)


def _names(records: Iterator[_Record], key: str) -> dict[int, str]:
    """Id -> text under `key`. Raises UsageError for an id or a text that occurs twice."""
    found: dict[int, str] = {}
    names = set()
    for record in records:
        number, name = record.value("id", int), record.value(key, str)
        if number in found or name in names:
            raise record.mistake(f"the id or the {key} {name!r} is there twice")
        found[number] = name
        names.add(name)
    return found
