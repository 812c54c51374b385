"""Gathers a run's tables into the plain data of one page; opens few images, whatever the size of the data set."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.base.json_types import Json
from schemas import TABLES
from stages.bases.duplicate_groups import KindOfGroups, kinds_of_groups
from stages.report import choice, gallery
from stages.report.breakdown import Breakdown, breakdown
from stages.report.cards import Cards
from stages.report.choice import ClassRow
from stages.report.figures import CurvePlot, curve_plot
from stages.report.gallery import Card, Layer, Source, Thumbnail
from stages.report.names import Names
from stages.report.reading import Row, Tables, images_of, sources_of
from stages.report.results import (
    SPLITS,
    Headline,
    SplitTable,
    headline,
    measured_split,
    split_tables,
)
from stages.report.sources import KINDS, Judged, Summary, summary
from stages.report.versions import library_versions
from stages.scoring.verdict import LEVELS, Overall, Verdict, overall

__all__ = ["ClassGallery", "Page", "StageInfo", "gather"]

ODD_GROUPS = 20
SAMPLE, WORST, BEST = "sample", "worst", "best"


@dataclass(frozen=True)
class StageInfo:
    """How a stage was configured: (parameter, value as text) and (slot, stages read)."""

    name: str
    kind: str
    version: int
    params: tuple[tuple[str, str], ...]
    reads: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ClassGallery:
    """A class, and those of its chosen images that could be decoded."""

    name: str
    row: ClassRow
    shown: tuple[Thumbnail, ...]


@dataclass(frozen=True)
class Page:
    """Everything on the page, ready to be laid out.

    layers: the sources of boxes on the split. main: the source whose numbers order the images. ranked_by: name of these
    numbers (IoU or quality); None without any. left_out: number of images that did not fit on the page.
    """

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
    sources: tuple[tuple[Layer, Summary], ...]
    cards: tuple[Card, ...]
    main: Layer | None
    ranked_by: str | None
    classes: tuple[ClassGallery, ...]
    left_out: int
    duplicates: tuple[KindOfGroups, ...]
    quarantine: tuple[Row, ...]
    metrics: tuple[Row, ...]
    stages: tuple[StageInfo, ...]
    versions: tuple[tuple[str, str], ...]

    @property
    def shows_truth(self) -> bool:
        """Whether an image on the page has ground-truth boxes."""
        return any(card.true_boxes for card in self.cards)

    @property
    def shown_layers(self) -> tuple[Layer, ...]:
        """The sources that an image on the page has boxes of."""
        drawn = {box.layer.key for card in self.cards for box in card.boxes}
        return tuple(layer for layer in self.layers if layer.key in drawn)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of boxes (right, too large, ...) that occur on the page."""
        found = {fact.kind for card in self.cards for fact in card.facts}
        return tuple(kind for kind in KINDS if kind in found)

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags of the boxes on the page."""
        return tuple(sorted({fact.flag for card in self.cards for fact in card.facts if fact.flag is not None}))

    @property
    def has_qualities(self) -> bool:
        """Whether a box on the page has a quality."""
        return any(fact.quality is not None for card in self.cards for fact in card.facts)

    @property
    def sets(self) -> tuple[str, ...]:
        """The sets of images on the page."""
        return tuple(name for name in (SAMPLE, WORST, BEST) if any(name in card.places for card in self.cards))


def gather(tables: Tables, ingredients: Mapping[str, Mapping[str, Any]], *, samples: int, title: str | None) -> Page:
    """Read what the page shows.

    ingredients: stage name -> ingredients of its recipe (kind, version, params, inputs).
    samples: number of images chosen by hash from the reported split. title: None: the name of the data set.
    """
    metrics = _rows(tables, "metrics", "metrics")
    curves = _rows(tables, "metrics", "curves")
    labelled = _labelled(tables)
    checks = [Verdict(**row) for row in _rows(tables, "quality", "verdicts")]
    best = headline(metrics)
    split = best.split if best else measured_split(metrics) or _split_of_most(labelled) or SPLITS[0]
    images = images_of(tables, split)
    found = sources_of(tables, split, images)
    mapped = {(row["method"], row["source"]) for row in curves}
    names = Names(((method, stage) for _, method, stage in found), mapped)
    layers = gallery.layers(found, names)
    main = _best_source(list(found), best)
    class_names = {row["label"]: row["label_name"] for row in labelled}
    cards = Cards(tables, images, found, layers, names, class_names)
    sets, ranked_by = _sets(cards, None if main is None else found[main], samples)
    shown = cards.cards(sets)
    return Page(
        title=title or (f"weakbox: {dataset}" if (dataset := _first(metrics, "dataset")) else "weakbox"),
        dataset=_first(metrics, "dataset"),
        run=_first(metrics, "run"),
        split=split,
        counts=_counts(labelled),
        verdict=overall(checks) if checks else None,
        checks=tuple(sorted(checks, key=lambda check: LEVELS[::-1].index(check.level) if check.level in LEVELS else 0)),
        headline=best,
        tables=tuple(split_tables(metrics)),
        plots=_plots(curves, names),
        breakdown=breakdown(_of_split(tables, "groups", split), _of_split(tables, "comparisons", split), names),
        layers=tuple(layers.values()),
        sources=tuple((layers[source], summary(own)) for source, own in found.items()),
        cards=shown,
        main=None if main is None else layers[main],
        ranked_by=ranked_by,
        classes=_classes(cards, main) if samples else (),
        left_out=cards.left_out,
        duplicates=tuple(kinds_of_groups(_duplicates(tables), ODD_GROUPS)),
        quarantine=_distinct(tables.refused()),
        metrics=tuple(metrics),
        stages=tuple(_stage_info(name, made) for name, made in ingredients.items()),
        versions=library_versions(),
    )


def _sets(cards: Cards, main: Judged | None, samples: int) -> tuple[dict[str, list[str]], str | None]:
    """The sets of images that are shown, and the name of the number that orders the worst and the best."""
    sample = choice.by_hash(cards.images.ids, samples)
    if main is None or not samples:
        return {SAMPLE: sample}, None
    values, name = main.ranks()
    if not np.isfinite(values).any():
        return {SAMPLE: sample}, None
    low, high = choice.extremes(cards.images, values, min(choice.EXTREMES, samples))
    return {SAMPLE: sample, WORST: low, BEST: high}, name


def _classes(cards: Cards, main: Source | None) -> tuple[ClassGallery, ...]:
    rows = choice.class_rows(cards.images, None if main is None else cards.sources[main])
    layer = None if main is None else cards.layers[main]
    small = cards.thumbnails([image_id for row in rows for image_id in row.shown], layer)
    return tuple(
        ClassGallery(cards.class_names[row.label], row, tuple(small[i] for i in row.shown if i in small))
        for row in rows
    )


def _best_source(found: Sequence[Source], best: Headline | None) -> Source | None:
    """The source of the headline's boxes: of the same stage, else of the same method, else the last source."""
    if best is None:
        return next(reversed(found), None)
    order = sorted(found, key=lambda source: (source[2] == best.source, source[1] == best.method))
    return next(reversed(order), None)


def _rows(
    tables: Tables, slot: str, table: str, columns: Sequence[str] | None = None, where: pc.Expression | None = None
) -> list[Row]:
    return [row for _, part in tables.parts(slot, table, columns, where) for row in part.to_pylist()]


def _duplicates(tables: Tables) -> pa.Table:
    parts = [part for _, part in tables.parts("duplicates", "duplicates")]
    return pa.concat_tables([TABLES["duplicates"].empty(), *parts])


def _first(rows: Iterable[Row], name: str) -> str:
    return next((row[name] for row in rows), "")


def _split_of_most(labelled: Sequence[Row]) -> str | None:
    """The split of most images: where nothing is measured, what matters is what was made."""
    counts: dict[str, int] = {}
    for row in labelled:
        counts[row["split"]] = counts.get(row["split"], 0) + row["images"]
    return max(counts, key=lambda split: counts[split]) if counts else None


def _of_split(tables: Tables, table: str, split: str) -> list[Row]:
    return _rows(tables, "metrics", table, where=pc.field("split") == split)


def _labelled(tables: Tables) -> list[Row]:
    """Rows of split, label, label_name, and `images`: the number of images of each."""
    columns = ("split", "label", "label_name")
    parts = [part for _, part in tables.parts("images", "images", columns)]
    table = pa.concat_tables([TABLES["images"].empty().select(list(columns)), *parts])
    rows: list[Row] = table.group_by(list(columns)).aggregate([([], "count_all")]).sort_by("label").to_pylist()
    return [{**row, "images": row["count_all"]} for row in rows]


def _counts(labelled: Iterable[Row]) -> tuple[tuple[str, int, int], ...]:
    """(split, images, classes) of every split that has images."""
    images: dict[str, list[int]] = {}
    for row in labelled:
        images.setdefault(row["split"], []).append(row["images"])
    return tuple((split, sum(images[split]), len(images[split])) for split in reversed(SPLITS) if split in images)


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
