"""Thresholds that val chooses where it has the boxes: frozen for test, refused on val, or cross-fitted on it."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.base.errors import UsageError
from pipeline.planning.plan import make_plan
from stages.bases.halves import HALVES, half_of
from stages.boxes.boxes import pseudo_boxes
from stages.ingest.demo import compose
from stages.scoring.cuts.cut_counts import CUT_THRESHOLDS
from stages.vision.box_rule import BoxRule
from stages.vision.boxes import iou
from tests import runs

TEST = 40
CLASSIFY = {"epochs": 1, "batch_size": 16}
SCORED = {"labels": ["boxes"], "counts": ["sweep"], "classes": "classes"}
CROSS_FIT = {"split": "val", "cross_fit": True}


def stages(calibrate: dict[str, Any], evaluate: dict[str, Any], **more: dict[str, Any]) -> dict[str, Any]:
    """The chain from a classifier to its report, with thresholds from `calibrate`."""
    return {
        "classify": CLASSIFY,
        "classes": {"stage": "localize", "model": "classify", "splits": ["val", "test"]},
        "cam": {},
        "sweep": {},
        "calibrate": calibrate,
        "boxes": {"thresholds": "calibrate"},
        **more,
        "evaluate": {**SCORED, **evaluate},
        "report": {"maps": ["cam"], "labels": ["boxes"], "samples": 2},
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Forty demo images with boxes, half of them in val and half in test, and training images without any."""
    root: Path = tmp_path_factory.mktemp("held_out")
    compose(root, train=20, test=TEST)
    shutil.rmtree(root / "masks")
    for path in sorted((root / "test").glob("*/*.jpg"))[::2]:
        moved = root / "val" / path.relative_to(root / "test")
        moved.parent.mkdir(parents=True, exist_ok=True)
        path.rename(moved)

    def held_out(line: dict[str, str]) -> list[dict[str, str]]:
        names = [line["image_id"].replace("test/", f"{split}/") for split in ("val", "test")]
        here = [name for name in names if (root / name).exists()]
        return [{**line, "image_id": here[0]}] if line["image_id"].startswith("test/") else []

    runs.rewrite_boxes(root, held_out)
    return root


@pytest.fixture
def config(data, tmp_path) -> dict[str, Any]:
    dataset = {"reader": "folder", "root": str(data), "dev_fraction": 0, "shard_size": 10}
    return {"run_root": str(tmp_path / "run"), "dataset": dataset}


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """The whole chain, thresholds chosen on val and reported on test."""
    dataset = {"reader": "folder", "root": str(data), "dev_fraction": 0, "shard_size": 10}
    root = tmp_path_factory.mktemp("chain") / "run"
    made = stages({}, {"splits": ["test"]})
    target = runs.target_of({"run_root": str(root), "dataset": dataset, "stages": made})
    runs.execute(target)
    return target


def changed(finished, tmp_path, said: dict[str, Any]):
    """The finished run in a copy of its root, with other stages."""
    shutil.copytree(finished.config.run_root, tmp_path / "copy")
    target = runs.target_of(
        {"run_root": str(tmp_path / "copy"), "dataset": dict(finished.config.dataset), "stages": said}
    )
    runs.execute(target)
    return target


def choices(target, table: str, stage: str) -> dict[str, set[str | None]]:
    """split -> what its rows say of their threshold."""
    found: dict[str, set[str | None]] = {}
    for row in runs.rows(target, stage, table):
        found.setdefault(row["split"], set()).add(row["threshold_choice"])
    return found


def located(target, images: dict[str, Any]) -> np.ndarray:
    """By image in their order and threshold: whether the box that `boxes` makes is right at IoU 0.5."""
    maps = {row["image_id"]: row for row in runs.rows(target, "cam", "score_maps")}
    hits = []
    for image_id, image in images.items():
        row, truth = maps[image_id], [[box[side] for side in ("x0", "y0", "x1", "y1")] for box in image["gt_boxes"]]
        score_map = np.reshape(row["map"], (row["height"], row["width"])).astype(np.float16)
        size = row["image_height"], row["image_width"]
        found = (pseudo_boxes(score_map, *size, BoxRule(), threshold) for threshold in CUT_THRESHOLDS)
        hits.append([iou(boxes.boxes[:, :4], truth).max() >= 0.5 for boxes in found])
    return np.array(hits)


def test_val_chooses_where_dev_has_no_boxes_and_test_is_reported(finished):
    """Breaks when a split of the user's own cannot choose, or its threshold is not the best one there."""
    (chosen,) = runs.rows(finished, "calibrate", "thresholds")
    val = runs.images(finished, "val")
    assert (chosen["split"], chosen["half"], chosen["n"]) == ("val", None, len(val))
    assert len(val) == TEST // 2
    curve = 100 * located(finished, val).mean(axis=0)
    assert chosen["value"] == pytest.approx(curve.max())
    assert curve[round(255 * chosen["threshold"])] == pytest.approx(curve.max())
    assert choices(finished, "pseudo_labels", "boxes") == {
        "train": {"validated"},
        "val": {"oracle"},
        "test": {"validated"},
    }
    (known,) = [
        row
        for row in runs.rows(finished, "evaluate", "metrics")
        if (row["source"], row["metric"], row["iou"]) == ("boxes", "gt_known", 0.5)
    ]
    assert (known["split"], known["threshold_choice"]) == ("test", "validated")
    assert known["threshold"] == chosen["threshold"]
    (report,) = runs.dones(finished, "report")
    assert b"validated" in finished.store.blob(report, next(iter(report.blobs)))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "the reported split": (
        stages({}, {"splits": ["val", "test"]}),
        "stage evaluate: it reports split val, on which calibrate chose the threshold behind boxes: leave val out of"
        " splits, give calibrate another split or cross_fit: true, or say oracle: true here",
    ),
    "the reported split, by name": (
        stages({"split": "test"}, {"splits": ["test"]}),
        "stage evaluate: it reports split test, on which calibrate chose the threshold behind boxes",
    ),
    "what was trained on such boxes": (
        stages(
            CROSS_FIT,
            {"splits": ["val"], "predictions": ["psol_boxes"]},
            psol={"labels": "boxes"},
            psol_boxes={"stage": "localize", "model": "psol", "splits": ["val"]},
        ),
        "stage evaluate: it reports split val, on which calibrate chose the threshold behind psol_boxes",
    ),
    "a split without boxes": (
        stages({"split": "dev"}, {"splits": ["test"]}),
        "stage calibrate: no image of split dev has a ground-truth box; give a fixed threshold, or a split that has"
        " some: val, test",
    ),
    "train": (
        stages({"split": "train"}, {"splits": ["test"]}),
        "stage calibrate: split must be one of dev, val, test, not 'train'",
    ),
    "counts of train": (
        {**stages({}, {"splits": ["test"]}), "sweep": {"splits": ["train", "test"]}},
        "stage sweep: splits must be one of dev, val, test, not 'train'",
    ),
    "no counts": (
        {**stages({}, {"splits": ["test"]}), "sweep": {"splits": []}},
        "stage sweep: splits names none",
    ),
    "counts of another split": (
        {**stages({}, {"splits": ["test"]}), "sweep": {"splits": ["test"]}},
        "stage calibrate: no image is of split val: sweep has test",
    ),
    "a report of what is not counted": (
        {**stages({}, {"splits": ["test"]}), "sweep": {"splits": ["val"]}},
        "stage evaluate: it reports split test, and sweep counts val alone",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_choice_that_would_not_be_honest_is_refused_before_anything_runs(case, config):
    """Breaks when a number is called validated that was chosen on what it reports, or a split without boxes chooses."""
    said, words = REFUSED[case]
    with pytest.raises(UsageError, match=re.escape(words)):
        runs.execute(runs.target_of({**config, "stages": said}))
    assert not Path(config["run_root"], "stages", "ingest").exists()


def test_only_refuses_it_too(finished, tmp_path):
    """Breaks when `--only evaluate`, which reads what an earlier run made, forgets where a threshold was chosen."""
    shutil.copytree(finished.config.run_root, tmp_path / "copy")
    said = stages({}, {"splits": ["val"]})
    config = {"run_root": str(tmp_path / "copy"), "dataset": dict(finished.config.dataset), "stages": said}
    with pytest.raises(UsageError, match="it reports split val, on which calibrate chose the threshold behind boxes"):
        runs.execute(runs.target_of(config), only="evaluate")


def test_what_is_asked_for_is_oracle_and_all_that_hangs_on_it(finished, tmp_path):
    """Breaks when a threshold of the reported split is called validated, or what was trained on its boxes is not."""
    more: dict[str, dict[str, Any]] = {
        "psol": {"labels": "boxes", "epochs": 1, "batch_size": 10},
        "psol_boxes": {"stage": "localize", "model": "psol", "splits": ["val", "test"]},
    }
    reported = {"splits": ["val", "test"], "oracle": True, "predictions": ["psol_boxes"]}
    target = changed(finished, tmp_path, stages({}, reported, **more))
    found = {
        (row["source"], row["split"]): row["threshold_choice"]
        for row in runs.rows(target, "evaluate", "metrics")
        if row["metric"] == "gt_known" and row["source"]
    }
    assert found == {
        ("boxes", "val"): "oracle",
        ("boxes", "test"): "validated",
        ("psol_boxes", "val"): "oracle",
        ("psol_boxes", "test"): None,
    }


def test_the_oracle_of_val_is_reported_by_its_best_threshold(finished, tmp_path):
    """Breaks when the oracle row is not what val promised."""
    target = changed(finished, tmp_path, stages({}, {"splits": ["val"], "oracle": True}))
    (chosen,) = runs.rows(target, "calibrate", "thresholds")
    assert known(target, "val")["value"] == pytest.approx(chosen["value"])


def test_each_half_gets_the_threshold_of_the_other_and_the_pooled_number_is_validated(finished, tmp_path):
    """Breaks when an image helps to choose its own threshold, or halves are mixed up between the stages."""
    target = changed(finished, tmp_path, stages(CROSS_FIT, {"splits": ["val", "test"]}))
    val = runs.images(target, "val")
    halves, hits = np.array([half_of(image_id) for image_id in val]), located(target, val)
    chosen = {row["half"]: row for row in runs.rows(target, "calibrate", "thresholds")}
    assert set(chosen) == {None, *HALVES}
    right = np.zeros(len(val))
    for half in HALVES:
        of_others = hits[halves != half]
        assert chosen[half]["n"] == len(of_others) > 0
        assert chosen[half]["value"] == pytest.approx(100 * of_others.mean(axis=0).max())
        cut = round(255 * chosen[half]["threshold"])
        assert of_others[:, cut].mean() == of_others.mean(axis=0).max()
        right[halves == half] = hits[halves == half, cut]
    for row in runs.rows(target, "boxes", "pseudo_labels"):
        own = half_of(row["image_id"]) if row["split"] == "val" else None
        assert (row["threshold"], row["threshold_choice"]) == (chosen[own]["threshold"], "validated")
    pooled = known(target, "val")
    assert (pooled["threshold_choice"], pooled["n"]) == ("validated", len(val))
    assert pooled["value"] == pytest.approx(100 * right.mean())
    different = len({chosen[half]["threshold"] for half in HALVES}) > 1
    assert pooled["threshold"] == (None if different else chosen[0]["threshold"])
    assert known(target, "test")["threshold"] == chosen[None]["threshold"]


def test_the_boxes_of_a_half_do_not_move_its_own_threshold(data, tmp_path):
    """Breaks when the claim of cross-fitting fails: ground truth of an image enters the threshold that it gets."""
    found = []
    corner = {"x0": "0", "y0": "0", "x1": "9", "y1": "9"}
    for name in ("true", "moved"):
        root = tmp_path / name
        shutil.copytree(data, root)
        if name == "moved":
            runs.rewrite_boxes(root, lambda line: [{**line, **(corner if half_of(line["image_id"]) == 0 else {})}])
        dataset = {"reader": "folder", "root": str(root), "dev_fraction": 0, "shard_size": 10}
        said = {"classify": {"epochs": 0}, "cam": {}, "sweep": {"splits": ["val"]}, "calibrate": CROSS_FIT}
        target = runs.target_of({"run_root": str(tmp_path / f"{name}_run"), "dataset": dataset, "stages": said})
        runs.execute(target)
        found.append(
            {row["half"]: (row["threshold"], row["value"]) for row in runs.rows(target, "calibrate", "thresholds")}
        )
    assert found[0][0] == found[1][0], "chosen on half 1, whose boxes are the same"
    assert found[0][1] != found[1][1], "chosen on half 0, whose boxes moved"


def known(target, split: str) -> dict[str, Any]:
    """The GT-known row of the boxes at IoU 0.5."""
    wanted = {"source": "boxes", "split": split, "metric": "gt_known", "iou": 0.5}
    (row,) = [row for row in runs.rows(target, "evaluate", "metrics") if wanted.items() <= row.items()]
    return row


def test_a_split_that_is_not_reported_chooses_beside_a_dev_of_its_own(config):
    """Breaks when a named split is passed over for dev, or counts of only one split are not enough to choose."""
    config["dataset"]["dev_fraction"] = 0.2
    said = {**stages({"split": "val"}, {"splits": ["test"]}), "sweep": {"splits": ["val", "test"]}}
    planned = make_plan((target := runs.target_of({**config, "stages": said})).stages, target.store)
    (shard,) = planned["calibrate"].shards
    assert shard.args["split"] == "val"
