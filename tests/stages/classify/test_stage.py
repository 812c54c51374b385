import json

import pytest

from pipeline.errors import UsageError
from stages.vision.models import CARD, WEIGHTS
from tests import runs


def model(target, stage="classify"):
    (done,) = runs.dones(target, stage)
    return json.loads(target.store.blob(done, CARD)), target.store.blob(done, WEIGHTS)


def test_the_card_says_how_to_build_the_network_again(finished_run):
    """Breaks when a card no longer names network, classes in label order, input size, seed and the weights' hash."""
    card, _ = model(finished_run)
    assert card["classes"] == [str(digit) for digit in range(10)]
    assert (card["method"], card["backbone"], card["num_classes"], card["input_size"]) == (
        "classify",
        "smallnet",
        10,
        64,
    )
    assert len(card["weights_hash"]) >= 16


def test_only_images_of_train_are_trained_on(finished_run):
    """Breaks when dev or test images enter the training."""
    train = [row for row in runs.rows(finished_run, "ingest", "images") if row["split"] == "train"]
    (epoch,) = runs.rows(finished_run, "classify", "training")
    assert epoch["images"] == len(train) // 16 * 16
    assert 0 < len(train) < runs.TRAIN


def test_the_seed_changes_the_weights_and_workers_do_not(run_copy, finished_run):
    """Breaks when the seed does not reach the training, or a resource parameter does."""
    entry = runs.STAGES["classify"]
    run_copy["stages"] = {
        "classify": entry,
        "again": {"stage": "classify", **entry, "processes": 1},
        "other": {"stage": "classify", **entry, "seed": 1},
    }
    target = runs.target_of(run_copy)
    runs.execute(target)
    assert model(target, "again") == model(finished_run)
    assert model(target, "other")[1] != model(finished_run)[1]


def test_no_training_images_and_bad_weights_are_one_line(run_copy, tmp_path):
    """Breaks when an empty training split or a wrong weights file gives a traceback."""
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    run_copy["stages"] = {"classify": {"weights": str(tmp_path / "bad.safetensors"), "epochs": 0}}
    with pytest.raises(UsageError, match="stage classify: .*bad.safetensors"):
        runs.execute(runs.target_of(run_copy))
    run_copy["stages"] = {"classify": {}}
    run_copy["dataset"]["dev_fraction"] = 0.9999999
    with pytest.raises(UsageError, match="no image is of split train"):
        runs.execute(runs.target_of(run_copy))


def test_a_changed_weights_file_is_another_recipe(run_copy, tmp_path):
    """Breaks when a weights file that was overwritten keeps the old model."""
    from pipeline.plan import make_plan

    recipes = set()
    for content in (b"one", b"two"):
        (tmp_path / "w.pth").write_bytes(content)
        run_copy["stages"] = {"classify": {"weights": str(tmp_path / "w.pth")}}
        target = runs.target_of(run_copy)
        recipes.add(make_plan(target.stages, target.store)["classify"].recipe)
    assert len(recipes) == 2
