import math

import pytest

from pipeline.errors import UsageError
from tests import runs


def metric(target, **wanted) -> float:
    (row,) = [
        row
        for row in runs.rows(target, "evaluate", "metrics")
        if all(row[key] == value for key, value in wanted.items())
    ]
    return row["value"]


def iou(one, other) -> float:
    width = min(one["x1"], other["x1"]) - max(one["x0"], other["x0"])
    height = min(one["y1"], other["y1"]) - max(one["y0"], other["y0"])
    inside = max(width, 0) * max(height, 0)
    areas = [(box["x1"] - box["x0"]) * (box["y1"] - box["y0"]) for box in (one, other)]
    return inside / (sum(areas) - inside)


def test_numbers_agree_with_a_count_by_hand(finished_run):
    """Breaks when a metric joins the wrong rows: another split, another image's box or class."""
    truth = {row["image_id"]: row for row in runs.rows(finished_run, "ingest", "images") if row["split"] == "test"}
    ranked = {row["image_id"]: row["classes"] for row in runs.rows(finished_run, "classes", "predictions")}
    right = [ranked[image_id][0] == row["label"] for image_id, row in truth.items()]
    assert metric(finished_run, metric="cls_top1") == pytest.approx(100 * sum(right) / len(right))
    for stage, table in (("boxes_cam", "pseudo_labels"), ("psol_boxes", "predictions")):
        boxes = {row["image_id"]: row["boxes"][0] for row in runs.rows(finished_run, stage, table)}
        known = [iou(boxes[image_id], row["gt_boxes"][0]) >= 0.5 for image_id, row in truth.items()]
        located = [one and other for one, other in zip(known, right, strict=True)]
        at_half = {"source": stage, "iou": 0.5, "protocol": "original"}
        assert metric(finished_run, metric="gt_known", **at_half) == pytest.approx(100 * sum(known) / len(known))
        assert metric(finished_run, metric="top1_loc", **at_half) == pytest.approx(100 * sum(located) / len(known))


def test_trivial_predictors_stand_beside_every_split(finished_run):
    """Breaks when numbers are shown without their yardsticks."""
    rows = runs.rows(finished_run, "evaluate", "metrics")
    trivial = {"whole_image", "centred_square", "centred_gaussian", "median_train_box"}
    assert trivial <= {row["method"] for row in rows if row["split"] == "test" and row["metric"] == "gt_known"}
    assert {row["n"] for row in rows} == {runs.TEST}


def test_swept_numbers_are_oracle_and_have_their_curves(finished_run):
    """Breaks when a threshold chosen on the reported split is not called oracle, or the curve misses its maximum."""
    curves = runs.rows(finished_run, "evaluate", "curves")
    for source in ("cam", "ddt"):
        wanted = {"source": source, "metric": "max_box_acc"}
        (row,) = [r for r in runs.rows(finished_run, "evaluate", "metrics") if wanted.items() <= r.items()]
        assert row["threshold_choice"] == "oracle"
        curve = [c for c in curves if c["source"] == source and c["iou"] == 0.5]
        assert max(c["value"] for c in curve) == pytest.approx(row["value"])
        assert any(math.isclose(c["threshold"], row["threshold"]) for c in curve)


def test_a_source_without_the_split_is_one_line(run_copy):
    """Breaks when a stage that never saw the reported split gives a traceback, or drops out silently."""
    run_copy["stages"] = {
        **run_copy["stages"],
        "psol_boxes": {"stage": "localize", "model": "psol", "splits": ["dev"]},
    }
    with pytest.raises(UsageError, match="stage psol_boxes has no row of a split that is scored"):
        runs.execute(runs.target_of(run_copy))


def test_no_dev_boxes_is_one_line(run_copy):
    """Breaks when a threshold is chosen on nothing."""
    runs.Path("data/boxes.csv").unlink()
    run_copy["stages"] = {name: runs.STAGES[name] for name in ("classify", "cam", "sweep_cam", "calibrate")}
    with pytest.raises(UsageError, match="stage calibrate: no image of split dev has a ground-truth box"):
        runs.execute(runs.target_of(run_copy))
