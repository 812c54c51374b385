"""LCAR's recipe, from images to metrics, with a tiny transformer that knows nothing: the wiring, not the numbers."""

import pytest

from stages.ingest.demo import compose
from tests import runs

STAGES = {
    "classify": {"backbone": "vit_tiny_p8", "epochs": 0},
    "sdcam": {"epochs": 1, "batch_size": 4},
    "classes": {"stage": "localize", "model": "sdcam"},
    "seeds": {"stage": "cam", "model": "sdcam"},
    "ncut": {"tau": 0.2},
    "arm": {"maps": "ncut", "seeds": "seeds", "size": 32, "iterations": 3},
    "sgrm": {"maps": "arm", "size": 32, "iterations": 3, "min_iterations": 1, "method": "lcar"},
    "sweep": {"maps": "sgrm"},
    "boxes": {"maps": "sgrm", "threshold": 0.5, "kind": "absolute"},
    "evaluate": {"classes": "classes", "labels": ["boxes"], "counts": ["sweep"], "splits": ["test"]},
    "report": {"maps": ["seeds", "ncut", "arm", "sgrm"], "labels": ["boxes"], "predictions": ["classes"]},
}


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """The finished recipe on a dozen demo images."""
    folder = tmp_path_factory.mktemp("lcar")
    compose(folder / "data", train=8, test=4)
    target = runs.target_of({**runs.config(folder / "data", folder / "run"), "stages": STAGES})
    runs.execute(target)
    return target


def test_every_image_gets_a_mask_under_the_name_of_the_recipe(target):
    """Breaks when a stage of the chain cannot read the one before, or loses images on the way."""
    masks = runs.rows(target, "sgrm", "score_maps")
    assert {row["method"] for row in masks} == {"lcar"}
    assert {row["image_id"] for row in masks} == {row["image_id"] for row in runs.rows(target, "ingest", "images")}
    assert {value for row in masks for value in row["map"]} <= {0.0, 1.0}


def test_metrics_join_the_masks_boxes_with_the_teachers_classes(target):
    """Breaks when evaluate finds no classes for top-1 localization, or names them by the student."""
    metrics = runs.rows(target, "evaluate", "metrics")
    of_masks = {row["metric"] for row in metrics if row["method"] == "lcar"}
    assert {"gt_known", "gt_delta", "max_box_acc_v2", "top1_loc", "mask_iou"} <= of_masks
    assert {row["method"] for row in metrics if row["metric"] == "cls_top1"} == {"sdcam"}


def test_the_same_config_has_nothing_left_to_do(target):
    """Breaks when a recipe of the chain depends on something that changes between two plans."""
    assert runs.missing(target) == {}
