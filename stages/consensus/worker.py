"""Chooses for each image the row of one source, and adds its quality."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contract.context import Context
from pipeline.store.records import ShardResult, Task
from pipeline.worker.kept import Kept
from schemas import TABLES
from stages.bases.scored_tables import joined, of
from stages.consensus.choice import best_source, fused
from stages.consensus.options import ConsensusParams
from stages.scoring.arrow_tables import corners
from stages.scoring.ragged import BoolArray, FloatArray

__all__ = ["LOW_QUALITY", "ConsensusWorker"]

LOW_QUALITY = "low_quality"

_METHOD = "consensus"
_QUALITY_COLUMNS = ("image_id", "label", "source", "quality", "flag")
_KEY = ("image_id", "label")
_CORNERS = ("x0", "y0", "x1", "y1", "score")
_LABEL_COLUMNS = tuple(name for name in TABLES["pseudo_labels"].schema.names if name not in ("chosen", "quality"))


class _Rows(NamedTuple):
    """N images with their label, and the row of each of S sources for them.

    images: N pairs of id and label. place: ``(S, N)`` row numbers in the concatenated tables of the sources, -1 where a
    source has none. quality: ``(S, N)``, NaN where unknown. flags: ``(S, N)``, None for an ordinary box.
    """

    images: Sequence[tuple[str, int]]
    place: np.ndarray
    quality: FloatArray
    flags: Sequence[Sequence[str | None]]

    @property
    def flagged(self) -> BoolArray:
        """Whether a box has a flag: ``(S, N)`` bool."""
        return np.array([[flag is not None for flag in own] for own in self.flags], dtype=bool).reshape(
            self.place.shape
        )


class ConsensusWorker:
    """Computes the pseudo labels of one shard of images at a time. stage: the stage's name in the run."""

    def __init__(self, stage: str, params: ConsensusParams, context: Context) -> None:
        self._stage, self._params, self._context = stage, params, context
        self._read: Kept[str, pa.Table] = Kept(most=1)

    def __call__(self, task: Task) -> ShardResult:
        """The pseudo labels of the images of a shard."""
        ids = joined(self._context, task.inputs["images"], "images", ("image_id",)).column("image_id")
        tables = [self._labels(task, source, ids) for source in self._params.labels]
        rows = _aligned(tables, self._qualities(task, ids), self._params.labels)
        best, number = (
            best_source(rows.quality, rows.place >= 0, rows.flagged),
            np.arange(len(rows.images)),
        )
        labels = pa.concat_tables(tables).take(pa.array(rows.place[best, number]))
        quality = rows.quality[best, number]
        said = self._weighted(tables, rows, labels) if self._params.rule == "weighted" else {}
        columns = {name: labels.column(name) for name in labels.column_names} | {
            "method": [_METHOD] * len(quality),
            "source": [self._stage] * len(quality),
            "chosen": [self._params.labels[place] for place in best],
            "quality": pa.chunked_array([pa.array(quality.astype(np.float32), from_pandas=True)]),
            "flag": self._flags(
                labels.column("flag").to_pylist(),
                [rows.flags[source][place] for place, source in enumerate(best)],
                quality,
            ),
            **said,
        }
        return ShardResult({"pseudo_labels": TABLES["pseudo_labels"].from_columns(columns, len(quality))})

    def _labels(self, task: Task, source: str, ids: pa.ChunkedArray) -> pa.Table:
        """The pseudo labels of a source for these images."""
        table = joined(self._context, of(task, "labels", source), "pseudo_labels", _LABEL_COLUMNS)
        return table.filter(pc.is_in(table.column("image_id"), ids.combine_chunks()))

    def _qualities(self, task: Task, ids: pa.ChunkedArray) -> pa.Table:
        """The qualities of the images, from a table that is read once for all shards."""
        (done,) = task.inputs["quality"]
        table = self._read.get(done.key, lambda: self._context.table(done, "qualities", _QUALITY_COLUMNS))
        return table.filter(pc.is_in(table.column("image_id"), ids.combine_chunks()))

    def _flags(self, own: Sequence[str | None], judged: Sequence[str | None], quality: FloatArray) -> list[str | None]:
        """For each chosen row its own flag, else the flag of its quality, else `LOW_QUALITY` where that applies."""
        least = self._params.min_quality
        low = np.zeros(len(quality), bool) if least is None else ~(quality >= np.float32(least))  # NaN is low
        rows = zip(own, judged, low.tolist(), strict=True)
        return [flag or other or (LOW_QUALITY if below else None) for flag, other, below in rows]

    def _weighted(self, tables: Sequence[pa.Table], rows: _Rows, labels: pa.Table) -> dict[str, Sequence[object]]:
        """The columns that change when boxes are weighted means, over the sources whose box carries information."""
        voting = _voting(rows)
        found = [table.column("boxes").to_pylist() for table in tables]
        first = np.cumsum([0, *(len(own) for own in found)])
        boxes = []
        for number, row in enumerate(labels.select(["image_width", "image_height", "boxes"]).to_pylist()):
            own = [
                (found[source][rows.place[source, number] - first[source]], rows.quality[source, number])
                for source in range(len(tables))
                if voting[source, number]
            ]
            there = [(boxes_of[0], 0.5 if np.isnan(quality) else quality) for boxes_of, quality in own if boxes_of]
            boxes.append(self._fused(there, row) if there else [])
        number = labels.num_rows
        gone = {name: [None] * number for name in ("masks", "area_fraction", "contrast", "component_rule", "chosen")}
        return {**gone, "boxes": boxes, "components": [len(own) for own in boxes]}

    def _fused(
        self, there: Sequence[tuple[Mapping[str, float], float]], row: Mapping[str, Any]
    ) -> list[dict[str, float]]:
        found = [np.array(corners(box)) for box, _ in there]
        size = (row["image_width"], row["image_height"])
        box = fused(found, [weight for _, weight in there], size, self._params.fusion_iou)
        score = float(np.mean([box["score"] for box, _ in there]))
        return [dict(zip(_CORNERS, map(float, (*box, score)), strict=True))]


def _voting(rows: _Rows) -> BoolArray:
    """Which boxes enter a mean, ``(S, N)`` bool: those without a flag, or all of an image where each has one."""
    there = rows.place >= 0
    plain = there & ~rows.flagged
    return np.where(plain.any(axis=0), plain, there)


def _aligned(tables: Sequence[pa.Table], qualities: pa.Table, sources: Sequence[str]) -> _Rows:
    """The images of all tables, sorted by id and label, with their row in each table, quality and flag."""
    keys = [list(zip(*(table.column(name).to_pylist() for name in _KEY), strict=True)) for table in tables]
    images = sorted({key for own in keys for key in own})
    number = {key: place for place, key in enumerate(images)}
    place = np.full((len(tables), len(images)), -1, dtype=np.int64)
    first = 0
    for source, own in enumerate(keys):
        place[source, [number[key] for key in own]] = first + np.arange(len(own))
        first += len(own)
    quality, flags = np.full(place.shape, np.nan), [[None] * len(images) for _ in tables]
    of_source = {name: source for source, name in enumerate(sources)}
    judged = zip(*(qualities.column(name).to_pylist() for name in _QUALITY_COLUMNS), strict=True)
    for image_id, label, name, value, flag in judged:
        if name in of_source and (image_id, label) in number:
            row, column = of_source[name], number[image_id, label]
            quality[row, column], flags[row][column] = np.nan if value is None else value, flag
    return _Rows(images, place, quality, flags)
