"""The export stage on a real store: parameters refused, one file a split."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.base.errors import UsageError
from pipeline.base.params import input_names
from pipeline.store.records import Recipe, Shard, ShardResult, Task, Upstream
from pipeline.store.store import Store
from pipeline.worker.local_context import LocalContext
from schemas import TABLES
from stages.export.options import ExportParams
from stages.export.stage import Export
from stages.vision import masks

RECIPE = Recipe("made", 1, {})

WRONG_FORMAT: dict[str, Any] = {"labels": "a", "format": "cocco"}
WRONG_SPLIT: dict[str, Any] = {"labels": "a", "splits": ("vall",)}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (ExportParams(), "exactly one"),
        (ExportParams(labels="a", predictions="b"), "exactly one"),
        (ExportParams(**WRONG_FORMAT), r"format must be one of coco, not 'cocco'"),
        (ExportParams(**WRONG_SPLIT), "splits must be one of .*, not 'vall'"),
    ],
)
def test_bad_parameters_are_one_line(params: ExportParams, message: str) -> None:
    """Breaks when a wrong parameter is found only after the run has computed everything else."""
    with pytest.raises(UsageError, match=message):
        Export("export", params).check()


def test_pseudo_labels_and_predictions_of_several_shards_become_files(tmp_path: Path) -> None:
    """Breaks when a shard is forgotten, a column is missing from what is read, or one table is read as the other."""
    store = Store(str(tmp_path))
    for number, split in enumerate(("train", "train", "val")):
        commit_shard(store, str(number), split)

    made = run(store, ExportParams(labels="boxes"))
    assert set(made) == {"coco_train.json", "coco_val.json"}
    train = json.loads(made["coco_train.json"])
    assert [annotation["area"] for annotation in train["annotations"]] == [15, 15]
    assert train["info"]["description"] == "pseudo labels of stage boxes, exported by weakbox"

    made = run(store, ExportParams(predictions="localize", splits=("val",)))
    assert set(made) == {"coco_val.json"}
    (annotation,) = json.loads(made["coco_val.json"])["annotations"]
    assert annotation["segmentation"] == []
    assert annotation["bbox"] == [2, 1, 5, 3]


def commit_shard(store: Store, key: str, split: str) -> None:
    """One image with a pseudo label and a prediction."""
    shape = np.zeros((6, 8), bool)
    shape[1:4, 2:7] = True
    shared = {"image_id": f"c/{key}.jpg", "label": 0, "split": split}
    image = {"uri": "u", "width": 8, "height": 6, "label_name": "c", "content_hash": ""}
    boxes = {"boxes": [{"x0": 2, "y0": 1, "x1": 7, "y1": 4, "score": 0.5}], "image_height": 6, "image_width": 8}
    origin = {"method": "cam", "source": "boxes"}
    quality = {"area_fraction": 0.3, "contrast": 0.5, "components": 1, "masks": [masks.encode(shape)]}
    rule = {"threshold": 0.2, "threshold_choice": "fixed", "component_rule": "largest"}
    rows = {
        "images": {**shared, **image},
        "pseudo_labels": {**shared, **boxes, **origin, **quality, **rule},
        "predictions": {**shared, **boxes, **origin},
    }
    for stage, table in (("ingest", "images"), ("boxes", "pseudo_labels"), ("localize", "predictions")):
        store.commit(stage, RECIPE.id, key, ShardResult({table: TABLES[table].from_rows([rows[table]])}))


def run(store: Store, params: ExportParams) -> dict[str, bytes]:
    """Plan and compute the stage on everything committed."""
    shards = [Shard(key=str(number)) for number in range(3)]
    named = input_names(params).items()
    inputs = {slot: tuple(Upstream(name, RECIPE, shards) for name in names) for slot, names in named}
    stage = Export("export", params)
    stage.check()
    (shard,) = stage.plan("x", inputs)
    done = {
        slot: tuple(store.done(ref.stage, ref.recipe, [ref.key])[ref.key] for ref in refs)
        for slot, refs in shard.inputs.items()
    }
    return stage.worker(LocalContext(store))(Task(shard, done)).blobs
