"""Stage `report`: a run's tables -> one HTML page."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.params import option, reads
from pipeline.plan import recipe_path
from pipeline.stage import Context, Inputs, Shard, ShardResult, Stage, Task, Upstream, quarantined, whole
from pipeline.store import Store
from stages.report.data import Row, gather
from stages.report.render import render
from stages.vision.images import ImageError, decode

PAGE = "report.html"


@dataclass(frozen=True)
class ReportParams:
    """What the page shows."""

    images: str = reads("images", "ingest", "stage that lists the images")
    metrics: str = reads("metrics", "evaluate", "stage whose metrics and threshold curves are shown")
    maps: tuple[str, ...] = reads("score_maps", (), "stages whose score maps are shown as heat maps")
    labels: tuple[str, ...] = reads("pseudo_labels", (), "stages whose pseudo boxes are shown")
    predictions: tuple[str, ...] = reads("predictions", (), "stages whose predicted boxes are shown")
    samples: int = option(24, "images in the grid, chosen by hash", at_least=0)
    title: str | None = option(None, "title of the page; null: the data set")


class Report(Stage):
    """Writes `report.html`."""

    kind = "report"
    version = 2
    Params = ReportParams
    outputs = ()
    light = True
    params: ReportParams

    def plan(self, recipe: str, inputs: Inputs, store: Store) -> list[Shard]:
        """One shard, which also carries the ingredients of every stage above; the recipe already hashes them."""
        (shard,) = whole(recipe, inputs)
        return [replace(shard, payload=_provenance((up for ups in inputs.values() for up in ups), store))]

    def worker(self, context: Context) -> "_Writer":
        """Writes the page."""
        return _Writer(self.name, self.params, context)


class _Writer:
    def __init__(self, stage: str, params: ReportParams, context: Context) -> None:
        self._stage = stage
        self._params = params
        self._context = context

    def __call__(self, task: Task) -> ShardResult:
        tables = _TaskTables(self._stage, task, self._context)
        page = gather(tables, task.shard.payload, samples=self._params.samples, title=self._params.title)
        return ShardResult(blobs={PAGE: render(page).encode()}, quarantine=tables.bad)


class _TaskTables:
    """Reads the committed results that a task names."""

    def __init__(self, stage: str, task: Task, context: Context) -> None:
        self._stage = stage
        self._inputs = task.inputs
        self._context = context
        self.bad: list[dict[str, Any]] = []

    def rows(self, slot: str, table: str, columns: Sequence[str] | None, where: Any) -> list[tuple[str, Row]]:
        return [
            (done.stage, row)
            for done in self._inputs[slot]
            for row in self._context.table(done, table, columns, where).to_pylist()
        ]

    def image(self, row: Row) -> np.ndarray | None:
        try:
            return decode(self._context.read(row["uri"], row["offset"], row["length"]))
        except ImageError as error:
            self.bad.append(quarantined(self._stage, row, str(error)))
            return None

    def refused(self) -> list[Row]:
        dones = {(done.stage, done.key): done for dones in self._inputs.values() for done in dones}
        tables = [self._context.table(done, "quarantine") for done in dones.values() if done.quarantined]
        return [row for table in tables for row in table.to_pylist()] + self.bad


def _provenance(upstreams: Iterable[Upstream], store: Store) -> dict[str, Mapping[str, Any]]:
    """Stage name -> ingredients, for the stages read and all those above them; each stage after those it reads."""
    found: dict[str, Mapping[str, Any]] = {}

    def visit(name: str, recipe: str, ingredients: Mapping[str, Any]) -> None:
        if name in found:
            return
        if not ingredients:
            try:
                ingredients = json.loads(store.files.get(recipe_path(name, recipe)))
            except FileNotFoundError:
                return
        for ups in ingredients["inputs"].values():
            for above, its_recipe in ups:
                visit(above, its_recipe, {})
        found[name] = ingredients

    for upstream in upstreams:
        visit(upstream.name, upstream.recipe, upstream.ingredients)
    return found
