"""COCO JSON as other programs write it: a document with its images, or a list of results."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from stages.importing.found_boxes import FoundBoxes, ImageBoxes
from stages.vision.boxes import xywh_to_xyxy

__all__ = ["parse_coco"]


def parse_coco(data: bytes) -> FoundBoxes:
    """The annotations of a COCO document by the `file_name` of their images, or results by a textual `image_id`.

    Annotations with `iscrowd: 1` are groups and left out. A missing score is 1. Outlines are kept if every annotation
    has one. Images without annotations are included, with no box.

    Raises: ValueError for data that is neither of the two, naming the record.
    """
    try:
        said = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no JSON: {error}") from error
    names: dict[Any, str] = {}
    sizes: dict[str, tuple[int, int]] = {}
    if isinstance(said, list):
        records = said
    else:
        if not isinstance(said, dict) or not all(isinstance(said.get(key), list) for key in ("images", "annotations")):
            raise ValueError("a document with lists images and annotations, or a list of results, was expected")
        names, sizes = _images(said["images"])
        records = said["annotations"]
    found: dict[str, list[tuple[list[float], float, Any]]] = {name: [] for name in names.values()}
    for where, record in _objects(records, "results" if said is records else "annotations"):
        if record.get("iscrowd") != 1:
            name = _image_of(record, None if said is records else names, where)
            found.setdefault(name, []).append((_box(record, where), _score(record, where), record.get("segmentation")))
    outlined = all(outline for own in found.values() for *_, outline in own)
    return FoundBoxes({name: _of_image(own, outlined, sizes.get(name)) for name, own in found.items()})


def _objects(records: list[Any], key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            raise ValueError(f"{key}[{number}] is no object")
        yield f"{key}[{number}]", record


def _images(records: list[Any]) -> tuple[dict[Any, str], dict[str, tuple[int, int]]]:
    """Id -> file name, and file name -> width and height where they are given."""
    names: dict[Any, str] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for where, record in _objects(records, "images"):
        number, name = record.get("id"), record.get("file_name")
        if not isinstance(number, int | str) or not isinstance(name, str) or not name:
            raise ValueError(f"{where} has no id or no file_name")
        if number in names or name in sizes:
            raise ValueError(f"{where}: the id or the file_name {name!r} is there twice")
        names[number] = name
        width, height = record.get("width"), record.get("height")
        if isinstance(width, int) and isinstance(height, int):
            sizes[name] = width, height
    return names, sizes


def _image_of(record: Mapping[str, Any], names: Mapping[Any, str] | None, where: str) -> str:
    number = record.get("image_id")
    if names is not None:
        if not isinstance(number, int | str) or number not in names:
            raise ValueError(f"{where}: there is no image {number!r:.40}")
        return names[number]
    if not isinstance(number, str) or not number:
        raise ValueError(f"{where}: image_id {number!r:.40} names no image: results need textual ids, or a document")
    return number


def _box(record: Mapping[str, Any], where: str) -> list[float]:
    given = record.get("bbox")
    numbers = [n for n in given if _is_number(n)] if isinstance(given, list) else []
    if not isinstance(given, list) or not len(numbers) == len(given) == 4 or min(numbers[2:]) < 0:
        raise ValueError(f"{where}: bbox must be x, y, width and height, not {given!r:.80}")
    return numbers


def _score(record: Mapping[str, Any], where: str) -> float:
    score = record.get("score", 1.0)
    if not _is_number(score):
        raise ValueError(f"{where}: score must be a number, not {score!r:.40}")
    return float(score)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30  # False for NaN


def _of_image(own: list[tuple[list[float], float, Any]], outlined: bool, size: tuple[int, int] | None) -> ImageBoxes:
    ordered = sorted(own, key=lambda found: -found[1])
    boxes = xywh_to_xyxy(np.array([box for box, *_ in ordered], np.float64).reshape(-1, 4))
    outlines = [outline for *_, outline in ordered] if outlined else None
    return ImageBoxes(boxes, np.array([score for _, score, _ in ordered], np.float64), outlines, size)
