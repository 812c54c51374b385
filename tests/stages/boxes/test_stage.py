import re
from typing import Any

import numpy as np
import pytest

from pipeline.base.errors import UsageError
from pipeline.planning.plan import make_plan
from pipeline.store.records import Shard, Task
from pipeline.worker.local_context import LocalContext
from stages.boxes.options import BoxesParams
from stages.boxes.stage import Boxes
from stages.boxes.worker import BoxesWorker
from stages.vision import masks
from stages.vision.boxes import iou
from tests import runs


def test_thresholds_come_from_calibrate_and_say_so(finished_run):
    """Breaks when a threshold is not the one that dev chose, is validated on dev itself, or fixed and not so."""
    (chosen,) = runs.rows(finished_run, "calibrate", "thresholds")
    dev = [row for row in runs.rows(finished_run, "ingest", "images") if row["split"] == "dev"]
    assert (chosen["split"], chosen["half"], chosen["n"]) == ("dev", None, len(dev))
    for row in runs.rows(finished_run, "boxes_cam", "pseudo_labels"):
        said = "oracle" if row["split"] == "dev" else "validated"
        assert (row["threshold"], row["threshold_choice"]) == (chosen["threshold"], said)
    for row in runs.rows(finished_run, "boxes_ddt", "pseudo_labels"):
        assert (row["threshold"], row["threshold_choice"]) == (0.0, "fixed")


@pytest.mark.parametrize("stage", ["boxes_cam", "boxes_ddt"])
def test_boxes_and_masks_lie_in_the_image_and_fit_each_other(finished_run, stage):
    """Breaks when a mask has another size than its image, or box and mask are of different components."""
    for row in runs.rows(finished_run, stage, "pseudo_labels"):
        assert len(row["boxes"]) == len(row["masks"]) == 1
        (box,), (rle,) = row["boxes"], row["masks"]
        assert 0 <= box["x0"] < box["x1"] <= row["image_width"]
        assert 0 <= box["y0"] < box["y1"] <= row["image_height"]
        mask = masks.decode(rle)
        assert mask.shape == (row["image_height"], row["image_width"])
        if stage == "boxes_cam" and row["flag"] is None:
            assert np.flatnonzero(mask.any(0))[[0, -1]].tolist() == [box["x0"], box["x1"] - 1]
            assert np.flatnonzero(mask.any(1))[[0, -1]].tolist() == [box["y0"], box["y1"] - 1]
        assert row["source"] == stage


@pytest.mark.parametrize("change", [{"kind": "absolute"}, {"frame": "grid"}])
def test_a_chosen_threshold_serves_the_rule_it_was_chosen_for(change):
    """Breaks when a fraction of the min-maxed image-sized map is used as an absolute value or on the grid."""
    with pytest.raises(UsageError, match="kind relative and frame image"):
        Boxes("boxes", BoxesParams(thresholds="calibrate", **change)).check()


OTHER_RULES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, {"components": "all"}, "components largest, not all"),
    ({"components": "union"}, {}, "components union, not largest"),
    ({}, {"min_area": 0.01}, "min_area 0.0, not 0.01"),
    ({"min_area": 0.01}, {"min_area": 0.02}, "min_area 0.01, not 0.02"),
    ({"enlargement": "bicubic"}, {}, "enlargement bicubic, not bilinear"),
]


def stages_of(counted, applied):
    """A threshold chosen for one rule and applied under another, as a config has it."""
    return {
        "classify": runs.STAGES["classify"],
        "cam": {},
        "counted": {"stage": "sweep", "maps": "cam", **counted},
        "chosen": {"stage": "calibrate", "counts": "counted"},
        "boxes": {"maps": "cam", "thresholds": "chosen", **applied},
    }


@pytest.mark.parametrize(("counted", "applied", "words"), OTHER_RULES)
def test_a_threshold_of_another_rule_is_refused_before_anything_runs(tmp_path, counted, applied, words):
    """Breaks when a threshold that dev chose for one rule is applied under another, and still called validated."""
    for name in ("a/1.jpg", "b/2.jpg"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"never opened")
    config = runs.config(tmp_path / "data", tmp_path / "run")
    target = runs.target_of({**config, "stages": stages_of(counted, applied)})
    said = f"stage boxes: chosen chose its threshold for what counted counted: {words}; give both"
    with pytest.raises(UsageError, match=re.escape(said)):
        make_plan(target.stages, target.store)
    same = runs.target_of({**config, "stages": stages_of({**applied, **counted}, {**applied, **counted})})
    assert make_plan(same.stages, same.store)["boxes"].shards


def test_a_threshold_of_another_rule_is_refused_by_only(run_copy):
    """Breaks when `--only`, which reads what an earlier run made, forgets for which rule a threshold was chosen."""
    run_copy["stages"] = {**run_copy["stages"], "boxes_cam": {**runs.STAGES["boxes_cam"], "enlargement": "bicubic"}}
    with pytest.raises(UsageError, match="sweep_cam counted: enlargement bilinear, not bicubic"):
        runs.execute(runs.target_of(run_copy), only="boxes_cam")


@pytest.mark.parametrize("applied", [applied for counted, applied, _ in OTHER_RULES if not counted])
def test_a_worker_refuses_what_the_thresholds_table_says_of_another_rule(finished_run, applied):
    """Breaks when the table is not believed: its rule is that of what was counted, whatever the recipe says."""
    params = BoxesParams(maps="cam", thresholds="calibrate", **applied)
    worker = BoxesWorker("boxes", params, LocalContext(finished_run.store))
    inputs = {"maps": (runs.dones(finished_run, "cam")[0],), "thresholds": tuple(runs.dones(finished_run, "calibrate"))}
    ((name, value),) = applied.items()
    said = f"stage boxes: calibrate chose a threshold for the box rule .*, not for .*'{name}': {value!r}"
    with pytest.raises(UsageError, match=said):
        worker(Task(Shard("k"), inputs))


def test_thresholds_of_an_older_version_are_those_of_dev(finished_run, monkeypatch):
    """Breaks when a table without split and half, which an earlier version wrote, stops `--only boxes`."""
    context = LocalContext(finished_run.store)
    read = context.table

    def older(done, table, *rest):
        found = read(done, table, *rest)
        return found.drop_columns(["split", "half"]) if table == "thresholds" else found

    monkeypatch.setattr(context, "table", older)
    inputs = {"maps": (runs.dones(finished_run, "cam")[0],), "thresholds": tuple(runs.dones(finished_run, "calibrate"))}
    made = BoxesWorker("boxes_cam", BoxesParams(maps="cam", thresholds="calibrate"), context)(Task(Shard("k"), inputs))
    assert made.tables["pseudo_labels"] == finished_run.store.table(
        runs.dones(finished_run, "boxes_cam")[0], "pseudo_labels"
    )


def test_a_threshold_of_other_maps_is_refused(finished_run):
    """Breaks when the threshold of one method is applied to the maps of another."""
    worker = BoxesWorker("boxes", BoxesParams(maps="ddt", thresholds="calibrate"), LocalContext(finished_run.store))
    inputs = {"maps": (runs.dones(finished_run, "ddt")[0],), "thresholds": tuple(runs.dones(finished_run, "calibrate"))}
    with pytest.raises(UsageError, match="calibrate chose a threshold for cam, not for ddt"):
        worker(Task(Shard("k"), inputs))


@pytest.mark.parametrize(
    "rule", [{"components": "all", "min_area": 0.01}, {"components": "union", "enlargement": "bicubic"}]
)
def test_a_chosen_threshold_is_as_good_on_dev_as_it_says(run_copy, rule):
    """Breaks when sweep, calibrate and boxes read a rule differently: what dev promised is not what boxes give."""
    run_copy["stages"] = stages_of(rule, rule)
    target = runs.target_of(run_copy)
    runs.execute(target)
    (chosen,) = runs.rows(target, "chosen", "thresholds")
    assert {name: chosen[name] for name in rule} == rule
    truth = {image_id: row["gt_boxes"] for image_id, row in runs.images(target, "dev").items()}
    found = {row["image_id"]: row["boxes"] for row in runs.rows(target, "boxes", "pseudo_labels")}
    best = [iou(corners(found[image_id]), corners(boxes)).max() for image_id, boxes in truth.items()]
    assert chosen["n"] == len(best)
    assert chosen["value"] == pytest.approx(100 * np.mean(np.array(best) >= chosen["iou"]))


def corners(boxes):
    return [[box[side] for side in ("x0", "y0", "x1", "y1")] for box in boxes]
