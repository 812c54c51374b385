import pytest

from pipeline.base.errors import UsageError
from stages.localize.options import LocalizeParams
from stages.localize.stage import Localize
from stages.vision import model_card
from stages.vision.model_loaders import ModelLoaders
from tests import runs


def test_a_classifier_predicts_five_classes_and_no_box(finished_run):
    """Breaks when ranks, scores or the absence of boxes change."""
    for row in runs.rows(finished_run, "classes", "predictions"):
        assert row["method"] == "classify"
        assert row["boxes"] is None
        assert len(set(row["classes"])) == 5
        assert row["class_scores"] == sorted(row["class_scores"], reverse=True)
        assert 0 < sum(row["class_scores"]) <= 1 + 1e-5


def test_a_regressor_predicts_one_box_and_no_class(finished_run):
    """Breaks when boxes are no longer pixels of the original image, or leave it."""
    for row in runs.rows(finished_run, "psol_boxes", "predictions"):
        assert row["method"] == "psol"
        assert row["classes"] is None
        (box,) = row["boxes"]
        assert 0 <= box["x0"] <= box["x1"] <= row["image_width"]
        assert 0 <= box["y0"] <= box["y1"] <= row["image_height"]


def test_the_splits_are_those_asked_for(run_copy):
    """Breaks when a shard without the splits is computed, or another split is predicted."""
    run_copy["stages"] = {
        "classify": runs.STAGES["classify"],
        "classes": {"stage": "localize", "model": "classify", "splits": ["test"]},
    }
    target = runs.target_of(run_copy)
    assert runs.execute(target) == {"classes": 2}
    assert {row["split"] for row in runs.rows(target, "classes", "predictions")} == {"test"}
    assert len(runs.rows(target, "classes", "predictions")) == runs.TEST


def test_a_card_of_another_version_is_one_line(run_copy, monkeypatch):
    """Breaks when a model that a later program wrote gives a traceback."""
    run_copy["stages"] = {
        "classify": runs.STAGES["classify"],
        "new": {"stage": "localize", "model": "classify", "splits": ["train"]},
    }
    target = runs.target_of(run_copy)
    monkeypatch.setattr(model_card, "VERSION", model_card.VERSION + 1)
    with pytest.raises(UsageError, match="stage new: a model card of version .* was expected") as refused:
        runs.execute(target)
    assert "\n" not in str(refused.value)


def test_a_model_of_an_unknown_method_is_one_line(run_copy):
    """Breaks when a model that no predictor knows gives a traceback."""
    names = ("classify", "cam", "sweep_cam", "calibrate", "boxes_cam", "psol")
    run_copy["stages"] = {name: runs.STAGES[name] for name in names}
    target = runs.target_of(run_copy)
    target.stages["new"] = Localize("new", LocalizeParams(model="psol", splits=("train",)), ModelLoaders())
    with pytest.raises(UsageError, match="stage new: no predictor is known for method 'psol'"):
        runs.execute(target)


@pytest.mark.parametrize("crop", [-0.5, 0.0, 0.0005, 2.0])
def test_crops_that_nobody_means_are_one_clear_line(crop):
    """Breaks when images are enlarged until the memory is full, or a crop of nothing counts as the weights' own."""
    with pytest.raises(UsageError, match="crop must be at (least 0.1|most 1)"):
        Localize("boxes", LocalizeParams(crop=crop), ModelLoaders()).check()
