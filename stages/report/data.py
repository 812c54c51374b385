"""Gathers a run's tables into the plain data of one page. Reads few images, whatever the size of the data set."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.base.json_types import Json
from stages.bases.duplicate_groups import KindOfGroups, kinds_of_groups
from stages.report import gallery
from stages.report.breakdown import Breakdown, breakdown
from stages.report.figures import CurvePlot, curve_plot, heat_uri, photo_uri
from stages.report.gallery import Card, HeatMap, Layer, Source
from stages.report.names import Names
from stages.report.results import (
    SPLITS,
    Headline,
    SplitTable,
    headline,
    report_split,
    split_tables,
)
from stages.report.versions import library_versions
from stages.scoring.verdict import LEVELS, Overall, Verdict, overall
from stages.vision.image_rows import IMAGE_COLUMNS, ImageRow

__all__ = ["Page", "StageInfo", "Tables", "gather"]

Row = Mapping[str, Any]

WORST = 12
ODD_GROUPS = 20

_BOXES = {"labels": ("pseudo", "pseudo_labels", "flag"), "predictions": ("predicted", "predictions", "classes")}
_MAP_COLUMNS = ("image_id", "label", "method", "height", "width", "map", "flag")
_IMAGE_COLUMNS = tuple(name for name in IMAGE_COLUMNS if name != "split")


class Tables(Protocol):
    """How a page reads a run. Slots are those of the stage's parameters; one may hold several stages, or none."""

    def rows(
        self, slot: str, table: str, columns: Sequence[str] | None, where: pc.Expression | None
    ) -> list[tuple[str, Row]]:
        """(stage name, row) of a table of every stage in a slot; `where`: a pyarrow expression or None."""

    def table(self, slot: str, table: str) -> pa.Table:
        """A table of all stages in a slot, without a row where there is none."""

    def image(self, row: ImageRow) -> np.ndarray | None:
        """The pixels of an image, (H, W, 3) uint8 RGB; None where its content is bad: it is then refused."""

    def refused(self) -> list[Row]:
        """Quarantined images of all stages that are read, and those that `image` refused so far."""


@dataclass(frozen=True)
class StageInfo:
    """How a stage was configured: (parameter, value as text) and (slot, stages read)."""

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
    run: str
    split: str
    counts: tuple[tuple[str, int, int], ...]
    verdict: Overall | None
    checks: tuple[Verdict, ...]
    headline: Headline | None
    tables: tuple[SplitTable, ...]
    plots: tuple[tuple[str, tuple[CurvePlot, ...]], ...]
    breakdown: Breakdown
    layers: tuple[Layer, ...]
    samples: tuple[Card, ...]
    worst: tuple[Card, ...]
    worst_of: Layer | None
    duplicates: tuple[KindOfGroups, ...]
    quarantine: tuple[Row, ...]
    metrics: tuple[Row, ...]
    stages: tuple[StageInfo, ...]
    versions: tuple[tuple[str, str], ...]

    @property
    def shows_truth(self) -> bool:
        """Whether an image on the page has ground-truth boxes."""
        return any(card.true_boxes for card in (*self.samples, *self.worst))


def gather(tables: Tables, ingredients: Mapping[str, Mapping[str, Any]], *, samples: int, title: str | None) -> Page:
    """Read what the page shows.

    ingredients: stage name -> what its recipe is made of (kind, version, params, inputs).
    samples: number of images in the grid, chosen by hash from the split on top. title: None names the data set.
    """
    metrics = [row for _, row in tables.rows("metrics", "metrics", None, None)]
    curves = [row for _, row in tables.rows("metrics", "curves", None, None)]
    labelled = [row for _, row in tables.rows("images", "images", ("split", "label", "label_name"), None)]
    checks = [Verdict(**row) for _, row in tables.rows("quality", "verdicts", None, None)]
    best = headline(metrics)
    split = best.split if best else report_split(row["split"] for row in metrics or labelled) or SPLITS[0]
    found = _boxes(tables, split)
    boxed = [source for source, rows in found.items() if any(row["boxes"] is not None for row in rows.values())]
    mapped = {(row["method"], row["source"]) for row in curves}
    names = Names(((method, stage) for _, method, stage in boxed), mapped)
    layers = gallery.layers(found, names)
    worst_of = _best_source(boxed, best)
    grid = _Grid(tables, found, layers, names, {row["label"]: row["label_name"] for row in labelled})
    shown, low = grid.cards(split, worst_of, samples)
    dataset = next((row["dataset"] for row in metrics), "")
    return Page(
        title=title or (f"weakbox: {dataset}" if dataset else "weakbox"),
        dataset=dataset,
        run=next((row["run"] for row in metrics), ""),
        split=split,
        counts=_counts(labelled),
        verdict=overall(checks) if checks else None,
        checks=tuple(sorted(checks, key=lambda check: LEVELS[::-1].index(check.level) if check.level in LEVELS else 0)),
        headline=best,
        tables=tuple(split_tables(metrics)),
        plots=_plots(curves, names),
        breakdown=breakdown(_of_split(tables, "groups", split), _of_split(tables, "comparisons", split), names),
        layers=tuple(layers[source] for source in boxed),
        samples=shown,
        worst=low,
        worst_of=None if worst_of is None else layers[worst_of],
        duplicates=tuple(kinds_of_groups(tables.table("duplicates", "duplicates"), ODD_GROUPS)),
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


def _best_source(found: Sequence[Source], best: Headline | None) -> Source | None:
    """Whose boxes are the headline's: the same stage, else the same method, else the last there are."""
    if best is None:
        return next(reversed(found), None)
    order = sorted(found, key=lambda source: (source[2] == best.source, source[1] == best.method))
    return next(reversed(order), None)


@dataclass(frozen=True)
class _Grid:
    """Makes the cards of the images that are shown."""

    tables: Tables
    found: Mapping[Source, Mapping[str, Row]]
    layers: Mapping[Source, Layer]
    names: Names
    class_names: Mapping[int, str]

    def cards(self, split: str, worst_of: Source | None, samples: int) -> tuple[tuple[Card, ...], tuple[Card, ...]]:
        """The cards of the grid and of the worst cases of a source."""
        of_split = pc.field("split") == split
        known = self.tables.rows("truth", "truth", ("image_id", "boxes"), None)
        true_boxes = {row["image_id"]: row["boxes"] for _, row in known}
        images = {
            row["image_id"]: {**row, "gt_boxes": true_boxes.get(row["image_id"])}
            for _, row in self.tables.rows("images", "images", _IMAGE_COLUMNS, of_split)
        }
        rows = self.found[worst_of] if worst_of is not None else {}
        ious = {i: gallery.top_iou(row, images[i]["gt_boxes"]) for i, row in rows.items() if i in images}
        chosen = gallery.by_hash(images, samples)
        low = gallery.worst({i: iou for i, iou in ious.items() if iou is not None}, min(WORST, samples))
        cards = self._cards({image_id: images[image_id] for image_id in (*chosen, *low)})
        return tuple(cards[i] for i in chosen if i in cards), tuple(cards[i] for i in low if i in cards)

    def _cards(self, images: Mapping[str, Row]) -> dict[str, Card]:
        """A card for each image that can still be decoded."""
        wanted = pc.field("image_id").isin(pa.array(list(images), pa.string()))
        maps: dict[str, list[tuple[str, Row]]] = {}
        for stage, row in self.tables.rows("maps", "score_maps", _MAP_COLUMNS, wanted):
            maps.setdefault(row["image_id"], []).append((stage, row))
        cards = {}
        for image_id, image in images.items():
            pixels = self.tables.image(cast("ImageRow", image))
            if pixels is not None:
                rows = [(self.layers[source], own[image_id]) for source, own in self.found.items() if image_id in own]
                heat_maps = [self._heat_map(pixels, *entry) for entry in maps.get(image_id, ())]
                photo = photo_uri(pixels)
                cards[image_id] = gallery.card(
                    image, rows, photo=photo, heat_maps=heat_maps, class_names=self.class_names
                )
        return cards

    def _heat_map(self, pixels: np.ndarray, stage: str, row: Row) -> HeatMap:
        values = np.asarray(row["map"], np.float32).reshape(row["height"], row["width"])
        return HeatMap(self.names(row["method"], stage), heat_uri(pixels, values), row["flag"])


def _of_split(tables: Tables, table: str, split: str) -> list[Row]:
    return [row for _, row in tables.rows("metrics", table, None, pc.field("split") == split)]


def _counts(labelled: Iterable[Row]) -> tuple[tuple[str, int, int], ...]:
    """(split, images, classes) of every split that has images."""
    labels: dict[str, list[int]] = {}
    for row in labelled:
        labels.setdefault(row["split"], []).append(row["label"])
    return tuple((split, len(labels[split]), len(set(labels[split]))) for split in reversed(SPLITS) if split in labels)


def _plots(curves: Sequence[Row], names: Names) -> tuple[tuple[str, tuple[CurvePlot, ...]], ...]:
    """Split -> one diagram a protocol and IoU level, with every method in it; all have the same vertical axis."""
    grouped: dict[str, dict[tuple[str, float], dict[tuple[str, str], list[tuple[float, float]]]]] = {}
    for row in curves:
        lines = grouped.setdefault(row["split"], {}).setdefault((row["protocol"], row["iou"]), {})
        lines.setdefault((row["method"], row["source"]), []).append((row["threshold"], row["value"]))
    top = max(20, 20 * math.ceil(max((row["value"] for row in curves), default=0) / 20))

    def plot(split: str, protocol: str, iou: float) -> CurvePlot:
        points = {pair: np.array(line) for pair, line in sorted(grouped[split][protocol, iou].items())}
        lines = [(names(*pair), names.colour(*pair), line[:, 0], line[:, 1]) for pair, line in points.items()]
        return curve_plot(f"IoU ≥ {iou:g}, {protocol} protocol", lines, top=top)

    return tuple(
        (split, tuple(plot(split, *key) for key in sorted(grouped[split]))) for split in SPLITS if split in grouped
    )


def _distinct(refused: Iterable[Row]) -> tuple[Row, ...]:
    """One row for each image and stage: stages that read the same input report the same images."""
    rows = {(row["stage"], row["image_id"]): row for row in refused}
    return tuple(rows[key] for key in sorted(rows))


def _setting(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _stage_info(name: str, made: Mapping[str, Any]) -> StageInfo:
    rest = {key: value for key, value in made.items() if key not in ("kind", "version", "params", "inputs")}
    params = {**made["params"], **rest}
    return StageInfo(
        name=name,
        kind=made["kind"],
        version=made["version"],
        params=tuple((key, _setting(value)) for key, value in sorted(params.items())),
        reads=tuple((slot, ", ".join(up[0] for up in ups)) for slot, ups in sorted(made["inputs"].items()) if ups),
    )
