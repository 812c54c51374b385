import shutil
from collections import Counter

import numpy as np

from tests import runs


def test_components_are_of_the_training_images_of_their_class(finished_run):
    """Breaks when another split or class enters the statistics, or the equation is not solved."""
    images = runs.rows(finished_run, "ingest", "images")
    train = Counter(row["label"] for row in images if row["split"] == "train")
    components = {row["label"]: row for row in runs.rows(finished_run, "ddt", "components")}
    assert set(components) == set(train)
    for label, row in components.items():
        assert row["n_images"] == train[label]
        assert row["n_descriptors"] == train[label] * 64
        assert abs(np.linalg.norm(row["component"]) - 1) < 1e-6
        assert row["residual"] <= 1e-10
        assert row["label_name"] == str(label)


def test_training_maps_are_centred(finished_run):
    """Breaks when maps are projected with another mean than that of their own class."""
    rows = runs.rows(finished_run, "ddt", "score_maps")
    for label in range(10):
        maps = np.array([row["map"] for row in rows if row["label"] == label and row["split"] == "train"], np.float64)
        assert abs(maps.mean()) < 1e-3 * np.abs(maps).max()


def test_a_class_without_training_images_is_flagged(run_copy):
    """Breaks when a class that only test has stops the stage, or its empty maps look like real ones."""
    shutil.copytree("data/test/3", "data/test/new")
    run_copy["stages"] = {"classify": {**runs.STAGES["classify"], "epochs": 0}, "ddt": {}}
    target = runs.target_of(run_copy)
    runs.execute(target)
    new = [row for row in runs.rows(target, "ddt", "score_maps") if row["image_id"].startswith("test/new/")]
    assert new
    for row in new:
        assert row["flag"] == "no_training_images"
        assert not any(row["map"])
    assert len(runs.rows(target, "ddt", "components")) == 10
