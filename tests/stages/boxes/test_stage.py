import numpy as np
import pytest

from pipeline.base.errors import UsageError
from stages.boxes.options import BoxesParams
from stages.boxes.stage import Boxes
from stages.vision import masks
from tests import runs


def test_thresholds_come_from_calibrate_and_say_so(finished_run):
    """Breaks when a validated threshold is not the one that dev chose, or a fixed one claims to be validated."""
    (chosen,) = runs.rows(finished_run, "calibrate", "thresholds")
    dev = [row for row in runs.rows(finished_run, "ingest", "images") if row["split"] == "dev"]
    assert chosen["n"] == len(dev)
    for row in runs.rows(finished_run, "boxes_cam", "pseudo_labels"):
        assert (row["threshold"], row["threshold_choice"]) == (chosen["threshold"], "validated")
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
