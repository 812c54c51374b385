"""Which images the report shows, and what is drawn on them."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.report.names import NO_COLOUR, Names
from stages.vision import boxes

__all__ = ["Card", "HeatMap", "Layer", "Source", "by_hash", "card", "layers", "top_iou", "worst"]

Row = Mapping[str, Any]
Source = tuple[str, str, str]
"""("pseudo" or "predicted", method, stage name)."""


@dataclass(frozen=True)
class Layer:
    """One kind of boxes that can be shown: what it is, its name, and its colour number."""

    key: str
    kind: str
    name: str
    colour: int


@dataclass(frozen=True)
class DrawnBox:
    """A rectangle in pixels of the original image; `secondary` for all but the first box of a source."""

    layer: Layer
    x: float
    y: float
    width: float
    height: float
    secondary: bool


@dataclass(frozen=True)
class HeatMap:
    """A score map over its image: the stage and method behind it, a data URI, and its flag if it is a fallback."""

    name: str
    uri: str
    flag: str | None


@dataclass(frozen=True)
class Card:
    """One image of the page. `ious`: layer and IoU of its first box with the nearest ground-truth box."""

    image_id: str
    label_name: str
    predicted_name: str | None
    width: int
    height: int
    photo: str
    true_boxes: tuple[DrawnBox, ...]
    boxes: tuple[DrawnBox, ...]
    ious: tuple[tuple[Layer, float], ...]
    heat_maps: tuple[HeatMap, ...]
    flags: tuple[str, ...] = ()


TRUTH = Layer("layer-truth", "truth", "ground truth", NO_COLOUR)


def layers(sources: Iterable[Source], names: Names) -> dict[Source, Layer]:
    """A layer for each source of boxes."""
    return {
        (kind, method, stage): Layer(f"layer-{number}", kind, names(method, stage), names.colour(method, stage))
        for number, (kind, method, stage) in enumerate(sources)
    }


def by_hash(image_ids: Iterable[str], count: int) -> list[str]:
    """The `count` ids with the lowest sha256: a choice that nobody made and that stays when images are added."""
    return sorted(image_ids, key=lambda image_id: hashlib.sha256(image_id.encode()).digest())[:count]


def worst(ious: Mapping[str, float], count: int) -> list[str]:
    """The `count` ids with the lowest IoU, ties by id."""
    return sorted(ious, key=lambda image_id: (ious[image_id], image_id))[:count]


def top_iou(row: Row, truth: Sequence[Row] | None) -> float | None:
    """IoU of a row's first box with the nearest ground-truth box; None without ground truth, 0 without a box."""
    if not truth:
        return None
    if not row["boxes"]:
        return 0.0
    return float(np.max(boxes.iou([_corners(row["boxes"][0])], [_corners(box) for box in truth])))


def card(
    image: Row,
    rows: Sequence[tuple[Layer, Row]],
    *,
    photo: str,
    heat_maps: Sequence[HeatMap],
    class_names: Mapping[int, str],
) -> Card:
    """Put an image's row of the images table together with its rows of pseudo_labels and predictions."""
    ious = [(layer, top_iou(row, image["gt_boxes"])) for layer, row in rows if row["boxes"] is not None]
    guesses = [row["classes"][0] for _, row in rows if row.get("classes")]
    return Card(
        image_id=image["image_id"],
        label_name=image["label_name"],
        predicted_name=class_names.get(guesses[0], str(guesses[0])) if guesses else None,
        width=image["width"],
        height=image["height"],
        photo=photo,
        true_boxes=tuple(_drawn(TRUTH, image["gt_boxes"])),
        boxes=tuple(drawn for layer, row in rows for drawn in _drawn(layer, row["boxes"])),
        ious=tuple((layer, iou) for layer, iou in ious if iou is not None),
        heat_maps=tuple(heat_maps),
        flags=tuple(f"{layer.name}: {row['flag']}" for layer, row in rows if row.get("flag")),
    )


def _drawn(layer: Layer, found: Sequence[Row] | None) -> list[DrawnBox]:
    result = []
    for number, box in enumerate(found or ()):
        x0, y0, x1, y1 = _corners(box)
        secondary = number > 0 and layer is not TRUTH
        result.append(DrawnBox(layer, round(x0, 2), round(y0, 2), round(x1 - x0, 2), round(y1 - y0, 2), secondary))
    return result


def _corners(box: Row) -> list[float]:
    return [box["x0"], box["y0"], box["x1"], box["y1"]]
