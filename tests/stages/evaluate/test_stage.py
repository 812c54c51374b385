import math
import os

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from pipeline.base.errors import UsageError
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
    truth = runs.images(finished_run, "test")
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


def test_errors_groups_and_comparisons_agree_with_the_metrics(finished_run):
    """Breaks when the five kinds of error miss an image, or a group or a comparison is of another metric."""
    rows = runs.rows(finished_run, "evaluate", "metrics")
    groups = runs.rows(finished_run, "evaluate", "groups")
    at_half = {"metric": "top1_loc", "iou": 0.5, "protocol": "original"}
    for source in ("boxes_cam", "boxes_ddt", "psol_boxes"):
        top1 = metric(finished_run, source=source, **at_half)
        errors = [row["value"] for row in rows if row["source"] == source and row["metric"].startswith("err_")]
        assert len(errors) == 5
        assert sum(errors) == pytest.approx(100 - top1)
        for by in ("class", "size"):
            own = [r for r in groups if r["by"] == by and {**at_half, "source": source}.items() <= r.items()]
            assert sum(row["n"] for row in own) == runs.TEST
            assert sum(row["n"] * row["value"] for row in own) / runs.TEST == pytest.approx(top1)
    fits = {"metric": "gt_delta", "iou": 0.7, "protocol": "original"}
    for scored in (at_half, fits):
        (pair,) = [
            row
            for row in runs.rows(finished_run, "evaluate", "comparisons")
            if {**scored, "first": "boxes_cam", "second": "psol_boxes"}.items() <= row.items()
        ]
        first, second = (metric(finished_run, source=name, **scored) for name in ("boxes_cam", "psol_boxes"))
        assert pair["difference"] == pytest.approx(first - second)
        assert pair["ci_low"] <= pair["difference"] <= pair["ci_high"]
    known = [row for row in rows if (row["metric"], row["iou"], row["protocol"]) == ("gt_known", 0.5, "original")]
    best = max((row for row in known if row["source"] is None), key=lambda row: row["value"])
    (over,) = [
        row
        for row in runs.rows(finished_run, "evaluate", "comparisons")
        if row["metric"] == "gt_known" and (row["first"], row["second"]) == ("psol_boxes", best["method"])
    ]
    psol = metric(finished_run, source="psol_boxes", metric="gt_known", iou=0.5, protocol="original")
    assert over["difference"] == pytest.approx(psol - best["value"])
    yardsticks = {row["method"] for row in groups if {**fits, "by": "size", "source": None}.items() <= row.items()}
    assert {"whole_image", "median_train_box"} <= yardsticks


def test_masks_are_scored_against_the_files(finished_run, demo_data, monkeypatch):
    """Breaks when a mask of another image, or of another size, is compared; demo images have exact masks."""
    monkeypatch.chdir(demo_data.parent)
    test = runs.images(finished_run, "test")
    ious = []
    for row in runs.rows(finished_run, "boxes_cam", "pseudo_labels"):
        if row["image_id"] in test:
            (mask,) = test[row["image_id"]]["masks"]
            truth = np.asarray(Image.open(mask).convert("L")) > 128
            (rle,) = row["masks"]
            found = coco.decode({**rle, "counts": rle["counts"].encode()}).astype(bool)
            ious.append((truth & found).sum() / (truth | found).sum())
    assert len(ious) == runs.TEST
    assert metric(finished_run, source="boxes_cam", metric="mask_iou") == pytest.approx(100 * sum(ious) / len(ious))
    for source in ("cam", "ddt"):
        assert 0 < metric(finished_run, source=source, metric="pxap") < 100
        pooled = {"source": source, "protocol": "pooled_ge"}
        assert 0 < metric(finished_run, metric="peak_iou", **pooled) < 100
        assert 0 <= metric(finished_run, metric="peak_t", **pooled) <= 255


def test_several_protocols_stand_side_by_side(run_copy):
    """Breaks when a protocol's numbers carry another's name, or its trivial predictors are missing."""
    changed = {**runs.STAGES["evaluate"], "protocols": ["psol", "original"]}
    run_copy["stages"] = {**run_copy["stages"], "evaluate": changed}
    target = runs.target_of(run_copy)
    assert runs.execute(target) == {"evaluate": 1}
    rows = runs.rows(target, "evaluate", "metrics")
    for protocol in ("psol", "original"):
        known = [row for row in rows if (row["metric"], row["iou"], row["protocol"]) == ("gt_known", 0.5, protocol)]
        assert {"cam", "psol", "centred_square"} <= {row["method"] for row in known}
    assert "whole_crop" in {row["method"] for row in rows if row["protocol"] == "psol"}
    assert {row["protocol"] for row in runs.rows(target, "evaluate", "groups")} == {"psol"}, "the first one"


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


def test_an_image_without_a_map_counts_against_its_method(run_copy, finished_run):
    """Breaks when a method that refuses hard images gets better pixel metrics by it."""
    target = runs.target_of(run_copy)
    assert runs.execute(target) == {}, "the copied data are listed where they are now"
    image = next(iter(runs.images(target, "test").values()))
    path = image["file"]
    good, times = path.read_bytes(), path.stat()
    try:
        path.write_bytes(good[: len(good) // 2])
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        run_copy["dataset"]["rescan"] = False
        run_copy["stages"] = {**run_copy["stages"], "cam": {"input_size": 32}}
        broken = runs.target_of(run_copy)
        runs.execute(broken)
    finally:
        path.write_bytes(good)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert [row["image_id"] for row in runs.rows(broken, "cam", "quarantine")] == [image["image_id"]]
    counted = {row["metric"]: row["n"] for row in runs.rows(broken, "evaluate", "metrics") if row["source"] == "cam"}
    assert {metric: n for metric, n in counted.items() if n != runs.TEST} == {}
    assert {"pxap", "peak_iou", "max_box_acc"} <= counted.keys()


def test_a_sweep_alone_counts_what_the_whole_run_counted(run_copy, finished_run):
    """Breaks when `--only` forgets what the score maps' shards were made from, and plans other shards."""
    target = runs.target_of(run_copy)
    for name in ("sweep_cam", "sweep_ddt"):
        assert runs.execute(target, only=name) == {}, name


def test_a_source_without_the_split_is_one_line(run_copy):
    """Breaks when a stage that never saw the reported split gives a traceback, or drops out silently."""
    run_copy["stages"] = {
        **run_copy["stages"],
        "psol_boxes": {"stage": "localize", "model": "psol", "splits": ["dev"]},
    }
    with pytest.raises(UsageError, match="stage evaluate: it reports split test, and psol_boxes has dev"):
        runs.execute(runs.target_of(run_copy))


def test_no_dev_boxes_is_one_line(run_copy):
    """Breaks when a threshold is chosen on nothing."""
    runs.Path("data/boxes.csv").unlink()
    run_copy["stages"] = {name: runs.STAGES[name] for name in ("classify", "cam", "sweep_cam", "calibrate")}
    with pytest.raises(UsageError, match="stage calibrate: no image of split dev has a ground-truth box"):
        runs.execute(runs.target_of(run_copy))
