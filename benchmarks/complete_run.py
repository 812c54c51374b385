"""A run root with `ingest`, `classify` and `cam` complete, made without images.

Every shard is committed through the store with a table of its own, as its stage would.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from pipeline.base.hashing import fingerprint
from pipeline.config.run_config import parse_config
from pipeline.planning.plan import Planner
from pipeline.planning.walk import Walk
from pipeline.store import layout
from pipeline.store.layout import RecipeFolder
from pipeline.store.records import Shard, ShardResult
from pipeline.store.store import Store
from schemas import TABLES, TableSpec
from stages import catalog
from stages.vision.backbones.build import build
from stages.vision.model_card import ModelCard
from stages.vision.models import to_blobs

SHARD, CLASS, CLASSES = 1000, 1300, 1000
BACKBONE, MAP_SIDE = "smallnet", 7


class CompleteRun:
    """Builds the run below `folder`; `config` is then the config file to run."""

    def __init__(self, folder: Path, images: int) -> None:
        self.config = folder / "config.yaml"
        self.ranges = [range(start, min(start + SHARD, images)) for start in range(0, images, SHARD)]
        data: dict[str, Any] = {
            "run_root": str(folder / "run"),
            "dataset": {"reader": "folder", "root": str(folder / "images"), "rescan": False},
            "stages": {"classify": {"backbone": BACKBONE, "epochs": 0, "refit": "never"}, "cam": None},
        }
        os.makedirs(folder / "images")
        self.config.write_text(yaml.safe_dump(data), encoding="utf-8")
        config = parse_config(data)
        self._stages = config.stage_objects(catalog)
        self._store = Store(config.run_root)
        self._build()

    def unfinish(self) -> None:
        """Undo the last step of `cam`: all shards are done, but not yet committed as a complete set."""
        newest = self._store.newest("cam")
        if newest is not None:
            recipe, name = newest
            self._store.files.remove(RecipeFolder("cam", recipe).complete_set(name))
            self._store.files.remove(layout.newest("cam"))

    def _build(self) -> None:
        self._list()
        planner = Planner(self._store, "never")
        self._finish(planner, "ingest", map(_images, self.ranges))
        self._finish(planner, "truth", ())
        self._finish(planner, "duplicates", [_no_duplicates()])
        self._finish(planner, "classify", [_model()])
        self._finish(planner, "cam", map(_maps, self.ranges))

    def _list(self) -> None:
        """Keep the listing of `ingest`, as if it had found the images in a folder."""
        recipe = Walk().recipe(self._stages["ingest"]).id
        shards = [
            Shard(key=fingerprint([recipe, rows.start]), rows=len(rows), labels=_label_counts(rows))
            for rows in self.ranges
        ]
        self._store.keep_listing("ingest", recipe, shards, str(self.config.parent / "images"))

    def _finish(self, planner: Planner, stage: str, results: Iterable[ShardResult]) -> None:
        planned = planner.plan(self._stages[stage])
        done = {
            shard.key: self._store.commit(planned.name, planned.recipe.id, shard.key, result)
            for shard, result in zip(planned.shards, results, strict=True)
        }
        self._store.keep_recipe(planned.name, planned.recipe)
        shards = planner.settle(planned.stage, planned.upstream, done).shards
        self._store.commit_set(planned.name, planned.recipe.id, shards, done)


def _labels(rows: range) -> np.ndarray:
    return np.arange(rows.start, rows.stop, dtype=np.int32) // CLASS


def _label_counts(rows: range) -> dict[str, dict[str, int]]:
    labels, counts = np.unique(_labels(rows), return_counts=True)
    return {"train": {f"class{label:04d}": int(count) for label, count in zip(labels, counts, strict=True)}}


def _carried(rows: range) -> dict[str, Any]:
    """The columns that images and score maps share."""
    labels = _labels(rows)
    ids = [f"class{label:04d}/{number:08d}.jpg" for label, number in zip(labels, rows, strict=True)]
    return {"image_id": ids, "label": labels, "split": ["train"] * len(rows)}


def _images(rows: range) -> ShardResult:
    shared = _carried(rows)
    columns = {
        **shared,
        "uri": shared["image_id"],
        "width": np.full(len(rows), 500, np.int32),
        "height": np.full(len(rows), 375, np.int32),
        "label_name": [name.split("/")[0] for name in shared["image_id"]],
        "content_hash": [f"{number:064x}" for number in rows],
    }
    return ShardResult({"images": _table(TABLES["images"], columns, len(rows))}, identity=fingerprint([rows.start]))


def _no_duplicates() -> ShardResult:
    return ShardResult({"duplicates": TABLES["duplicates"].empty()}, identity=fingerprint([]))


def _maps(rows: range) -> ShardResult:
    values = np.random.default_rng(rows.start).random((len(rows), MAP_SIDE**2), np.float32).astype(np.float16)
    columns = {
        **_carried(rows),
        "method": ["cam"] * len(rows),
        "height": np.full(len(rows), MAP_SIDE, np.int32),
        "width": np.full(len(rows), MAP_SIDE, np.int32),
        "image_height": np.full(len(rows), 375, np.int32),
        "image_width": np.full(len(rows), 500, np.int32),
        "map": list(values),
    }
    return ShardResult({"score_maps": _table(TABLES["score_maps"], columns, len(rows))})


def _model() -> ShardResult:
    card = ModelCard("classify", BACKBONE, tuple(f"class{label:04d}" for label in range(CLASSES)), 64, 0)
    return ShardResult({"training": TABLES["training"].empty()}, to_blobs(build(BACKBONE, CLASSES), card))


def _table(spec: TableSpec, columns: dict[str, Any], rows: int) -> pa.Table:
    """A table of this schema; columns that are not given are null."""
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(rows, field.type)
        for field in spec.schema
    ]
    return pa.Table.from_arrays(arrays, schema=spec.schema)
