"""Gathers a run's tables into the plain data of one page. Reads few images, whatever the size of the data set."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.report import gallery
from stages.report.figures import CurvePlot, curve_plot, heat_uri, photo_uri
from stages.report.gallery import Card, HeatMap, Layer, Source
from stages.report.results import (
    SPLITS,
    TRIVIAL,
    Headline,
    SplitTable,
    display_name,
    headline,
    report_split,
    split_tables,
)
from stages.report.versions import library_versions

__all__ = ["Page", "StageInfo", "Tables", "gather"]

Row = Mapping[str, Any]

COLOURS = 6
NO_COLOUR = -1
WORST = 12

_BOXES = {"labels": ("pseudo", "pseudo_labels", "flag"), "predictions": ("predicted", "predictions", "classes")}
_MAP_COLUMNS = ("image_id", "label", "method", "height", "width", "map", "flag")
_IMAGE_COLUMNS = ("image_id", "uri", "offset", "length", "width", "height", "label", "label_name", "gt_boxes")


class Tables(Protocol):
    """How a page reads a run. Slots: images, metrics, labels, predictions, maps; a slot may hold several stages."""

    def rows(self, slot: str, table: str, columns: Sequence[str] | None, where: Any) -> list[tuple[str, Row]]:
        """(stage name, row) of a table of every stage in a slot; `where`: a pyarrow expression or None."""

    def image(self, row: Row) -> np.ndarray | None:
        """The pixels of an image, (H, W, 3) uint8 RGB; None where its content is bad: it is then refused."""

    def refused(self) -> list[Row]:
        """Quarantined images of all stages that are read, and those that `image` refused so far."""


@dataclass(frozen=True)
class StageInfo:
    """How a stage was configured: (parameter, value as JSON) and (slot, stages read)."""

    name: str
    kind: str
    version: int
    params: tuple[tuple[str, str], ...]
    reads: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Page:
    """Everything on the page, ready to be laid out."""

    title: str
    dataset: str
    split: str
    counts: tuple[tuple[str, int, int], ...]
    headline: Headline | None
    tables: tuple[SplitTable, ...]
    plots: tuple[tuple[str, tuple[CurvePlot, ...]], ...]
    layers: tuple[Layer, ...]
    samples: tuple[Card, ...]
    worst: tuple[Card, ...]
    worst_of: Layer | None
    quarantine: tuple[Row, ...]
    metrics: tuple[Row, ...]
    stages: tuple[StageInfo, ...]
    versions: tuple[tuple[str, str], ...]


def gather(tables: Tables, ingredients: Mapping[str, Mapping[str, Any]], *, samples: int, title: str | None) -> Page:
    """Read what the page shows.

    ingredients: stage name -> what its recipe is made of (kind, version, params, inputs).
    samples: number of images in the grid, chosen by hash from the split on top. title: None names the run.
    """
    metrics = [row for _, row in tables.rows("metrics", "metrics", None, None)]
    curves = [row for _, row in tables.rows("metrics", "curves", None, None)]
    labelled = [row for _, row in tables.rows("images", "images", ("split", "label", "label_name"), None)]
    split = report_split(row["split"] for row in metrics or labelled) or SPLITS[0]
    found = _boxes(tables, split)
    colours = _colours(metrics, curves, found)
    layers = gallery.layers(found, colours)
    boxed = [source for source, rows in found.items() if any(row["boxes"] is not None for row in rows.values())]
    best = headline(metrics)
    worst_of = _best_source(boxed, best)
    names = {row["label"]: row["label_name"] for row in labelled}
    shown, low = _cards(tables, split, found, layers, names, worst_of, samples)
    run = next((row["run"] for row in metrics), "")
    return Page(
        title=title or (f"weakbox: {run}" if run else "weakbox"),
        dataset=next((row["dataset"] for row in metrics), ""),
        split=split,
        counts=_counts(labelled),
        headline=best,
        tables=tuple(split_tables(metrics)),
        plots=_plots(curves, colours),
        layers=tuple(layers[source] for source in boxed),
        samples=shown,
        worst=low,
        worst_of=None if worst_of is None else layers[worst_of],
        quarantine=_distinct(tables.refused()),
        metrics=tuple(metrics),
        stages=tuple(_stage_info(name, made) for name, made in ingredients.items()),
        versions=library_versions(),
    )


def _boxes(tables: Tables, split: str) -> dict[Source, dict[str, Row]]:
    """Source -> image_id -> row, of all pseudo labels and predictions of one split."""
    found: dict[Source, dict[str, Row]] = {}
    for slot, (kind, table, extra) in _BOXES.items():
        columns = ("image_id", "method", "boxes", extra)
        for stage, row in tables.rows(slot, table, columns, pc.field("split") == split):
            found.setdefault((kind, row["method"], stage), {}).setdefault(row["image_id"], row)
    return dict(sorted(found.items(), key=lambda item: (item[0][0] != "pseudo", item[0])))


def _colours(metrics: Iterable[Row], curves: Iterable[Row], found: Iterable[Source]) -> dict[str, int]:
    """Display name -> colour number: a method has one colour wherever it appears; trivial predictors have none."""
    scored = {(row["method"], row["source"]) for row in (*metrics, *curves)}
    everyone = sorted({*scored, *((method, stage) for _, method, stage in found)}, key=lambda pair: display_name(*pair))
    methods = [display_name(*pair) for pair in everyone if pair[0] not in TRIVIAL]
    numbers = {name: number % COLOURS for number, name in enumerate(dict.fromkeys(methods))}
    return {**{display_name(*pair): NO_COLOUR for pair in everyone if pair[0] in TRIVIAL}, **numbers}


def _best_source(found: Sequence[Source], best: Headline | None) -> Source | None:
    """Whose boxes are the headline's: the same stage, else the same method, else the last predictions there are."""
    if best is not None:
        matches = [source for source in found if source[2] == best.source]
        matches += [source for source in found if source[1] == best.method]
        if matches:
            return next((source for source in matches if source[0] == "predicted"), matches[0])
    return next(reversed(found), None)


def _cards(
    tables: Tables,
    split: str,
    found: Mapping[Source, Mapping[str, Row]],
    layers: Mapping[Source, Layer],
    class_names: Mapping[int, str],
    worst_of: Source | None,
    samples: int,
) -> tuple[tuple[Card, ...], tuple[Card, ...]]:
    """The cards of the grid and of the worst cases."""
    images = {r["image_id"]: r for _, r in tables.rows("images", "images", _IMAGE_COLUMNS, pc.field("split") == split)}
    rows = found[worst_of] if worst_of is not None else {}
    ious = {i: gallery.top_iou(row, images[i]["gt_boxes"]) for i, row in rows.items() if i in images}
    chosen = gallery.by_hash(images, samples)
    low = gallery.worst({i: iou for i, iou in ious.items() if iou is not None}, min(WORST, samples))
    wanted = dict.fromkeys((*chosen, *low))
    maps: dict[str, list[tuple[str, Row]]] = {}
    for stage, row in tables.rows(
        "maps", "score_maps", _MAP_COLUMNS, pc.field("image_id").isin(pa.array(wanted, pa.string()))
    ):
        maps.setdefault(row["image_id"], []).append((stage, row))
    cards = {}
    for image_id in wanted:
        pixels = tables.image(images[image_id])
        if pixels is not None:
            cards[image_id] = gallery.card(
                images[image_id],
                [(layers[source], found[source][image_id]) for source in found if image_id in found[source]],
                photo=photo_uri(pixels),
                heat_maps=[_heat_map(pixels, *entry) for entry in maps.get(image_id, ())],
                class_names=class_names,
            )
    return tuple(cards[i] for i in chosen if i in cards), tuple(cards[i] for i in low if i in cards)


def _heat_map(pixels: np.ndarray, stage: str, row: Row) -> HeatMap:
    values = np.asarray(row["map"], np.float32).reshape(row["height"], row["width"])
    return HeatMap(display_name(row["method"], stage), heat_uri(pixels, values), row["flag"])


def _counts(labelled: Iterable[Row]) -> tuple[tuple[str, int, int], ...]:
    """(split, images, classes) of every split that has images."""
    labels: dict[str, list[int]] = {}
    for row in labelled:
        labels.setdefault(row["split"], []).append(row["label"])
    return tuple((split, len(labels[split]), len(set(labels[split]))) for split in reversed(SPLITS) if split in labels)


def _plots(curves: Sequence[Row], colours: Mapping[str, int]) -> tuple[tuple[str, tuple[CurvePlot, ...]], ...]:
    """Split -> one diagram a protocol and IoU level, with every method in it; all have the same vertical axis."""
    grouped: dict[str, dict[tuple[str, float], dict[str, list[tuple[float, float]]]]] = {}
    for row in curves:
        lines = grouped.setdefault(row["split"], {}).setdefault((row["protocol"], row["iou"]), {})
        name = display_name(row["method"], row["source"])
        lines.setdefault(name, []).append((row["threshold"], row["value"]))
    top = max(20, 20 * math.ceil(max((row["value"] for row in curves), default=0) / 20))

    def plot(split: str, protocol: str, iou: float) -> CurvePlot:
        points = {name: np.array(line) for name, line in sorted(grouped[split][protocol, iou].items())}
        lines = [(name, colours[name], line[:, 0], line[:, 1]) for name, line in points.items()]
        return curve_plot(f"IoU ≥ {iou:g}, {protocol} protocol", lines, top=top)

    return tuple(
        (split, tuple(plot(split, *key) for key in sorted(grouped[split]))) for split in SPLITS if split in grouped
    )


def _distinct(refused: Iterable[Row]) -> tuple[Row, ...]:
    """One row for each image and stage: stages that read the same input report the same images."""
    rows = {(row["stage"], row["image_id"]): row for row in refused}
    return tuple(rows[key] for key in sorted(rows))


def _stage_info(name: str, made: Mapping[str, Any]) -> StageInfo:
    rest = {key: value for key, value in made.items() if key not in ("kind", "version", "params", "inputs")}
    params = {**made["params"], **rest}
    return StageInfo(
        name=name,
        kind=made["kind"],
        version=made["version"],
        params=tuple((key, json.dumps(value)) for key, value in sorted(params.items())),
        reads=tuple((slot, ", ".join(up[0] for up in ups)) for slot, ups in sorted(made["inputs"].items()) if ups),
    )
