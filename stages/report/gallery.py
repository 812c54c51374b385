"""Cards of the report: an image with its boxes, heat maps and facts."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.report.names import NO_COLOUR, Names

__all__ = ["Card", "Fact", "HeatMap", "Layer", "Source", "Thumbnail", "card", "layers", "thumbnail"]

Row = Mapping[str, Any]
Source = tuple[str, str, str]
"""("pseudo" or "predicted", method, stage name)."""


@dataclass(frozen=True)
class Layer:
    """The boxes of one source, which the reader can show or hide: kind, name and colour number."""

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
class Fact:
    """Facts about a source's first box. kind: right, or the kind of error; quality: the chance that it is right."""

    layer: Layer
    iou: float | None
    kind: str | None
    quality: float | None
    flag: str | None


@dataclass(frozen=True)
class Card:
    """One image of the page. places: name of a set of images -> the image's position in it."""

    image_id: str
    label_name: str
    predicted_name: str | None
    width: int
    height: int
    photo: str
    true_boxes: tuple[DrawnBox, ...]
    boxes: tuple[DrawnBox, ...]
    facts: tuple[Fact, ...]
    heat_maps: tuple[HeatMap, ...]
    places: Mapping[str, int]

    @property
    def said(self) -> str:
        """The facts by layer as JSON, for the page's filters."""
        return json.dumps(
            {
                fact.layer.key: {"kind": fact.kind, "flag": fact.flag, "quality": _rounded(fact.quality)}
                for fact in self.facts
            }
        )

    @property
    def order(self) -> str:
        """The card's places as JSON, for the page's filters."""
        return json.dumps(dict(self.places))


@dataclass(frozen=True)
class Thumbnail:
    """A small picture of a class with the boxes of one source."""

    image_id: str
    width: int
    height: int
    photo: str
    boxes: tuple[DrawnBox, ...]


TRUTH = Layer("layer-truth", "truth", "ground truth", NO_COLOUR)


def layers(sources: Iterable[Source], names: Names) -> dict[Source, Layer]:
    """A layer for each source of boxes."""
    return {
        (kind, method, stage): Layer(f"layer-{number}", kind, names(method, stage), names.colour(method, stage))
        for number, (kind, method, stage) in enumerate(sources)
    }


def card(
    image: Row,
    rows: Sequence[tuple[Layer | None, Row]],
    facts: Sequence[Fact],
    *,
    photo: str,
    heat_maps: Sequence[HeatMap],
    class_names: Mapping[int, str],
    places: Mapping[str, int],
) -> Card:
    """Put an image's row of the images table together with its rows of pseudo_labels and predictions."""
    guesses = [row["classes"][0] for _, row in rows if row.get("classes")]
    return Card(
        image_id=image["image_id"],
        label_name=image["label_name"],
        predicted_name=class_names.get(guesses[0], str(guesses[0])) if guesses else None,
        width=image["width"],
        height=image["height"],
        photo=photo,
        true_boxes=tuple(_drawn(TRUTH, image["gt_boxes"])),
        boxes=tuple(drawn for layer, row in rows if layer is not None for drawn in _drawn(layer, row["boxes"])),
        facts=tuple(facts),
        heat_maps=tuple(heat_maps),
        places=places,
    )


def thumbnail(image: Row, found: tuple[Layer | None, Row] | None, photo: str) -> Thumbnail:
    """An image with the boxes of one source, if that source has a row for it."""
    drawn = [] if found is None or found[0] is None else _drawn(found[0], found[1]["boxes"])
    return Thumbnail(image["image_id"], image["width"], image["height"], photo, tuple(drawn))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _drawn(layer: Layer, found: Sequence[Row] | None) -> list[DrawnBox]:
    result = []
    for number, box in enumerate(found or ()):
        x0, y0, x1, y1 = _corners(box)
        secondary = number > 0 and layer is not TRUTH
        result.append(DrawnBox(layer, round(x0, 2), round(y0, 2), round(x1 - x0, 2), round(y1 - y0, 2), secondary))
    return result


def _corners(box: Row) -> list[float]:
    return [box["x0"], box["y0"], box["x1"], box["y1"]]
