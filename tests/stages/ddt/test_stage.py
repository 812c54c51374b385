import shutil
from collections import Counter

import numpy as np

from stages.vision.backbones import LocalizerNetwork
from stages.vision.score_maps import enlarge
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


def test_ddt_plus_and_spilling_in_a_run(run_copy, finished_run, monkeypatch):
    """Breaks when an image passes the network twice, also with spilling or two layers; or a spilled map differs."""
    seen: Counter[str] = Counter()
    network_features = LocalizerNetwork.__init__

    def counted(network, *arguments, **named):
        network_features(network, *arguments, **named)
        network.features.register_forward_pre_hook(lambda _, inputs: seen.update(images=len(inputs[0])))

    monkeypatch.setattr(LocalizerNetwork, "__init__", counted)
    layers = {"stage": "ddt", "tap": "layer3", "second_tap": "layer2", "memory": 0}
    run_copy["stages"] = {
        "classify": runs.STAGES["classify"],
        "spilled": {"stage": "ddt", "memory": 0},
        "both": layers,
    }
    target = runs.target_of(run_copy)
    runs.execute(target, only="ingest")
    runs.execute(target, only="classify")
    images = len(runs.rows(target, "ingest", "images"))
    for stage in ("spilled", "both"):
        seen.clear()
        runs.execute(target, only=stage)
        assert seen["images"] == images
    expected = {row["image_id"]: row["map"] for row in runs.rows(finished_run, "ddt", "score_maps")}
    assert {row["image_id"]: row["map"] for row in runs.rows(target, "spilled", "score_maps")} == expected
    both = {row["image_id"]: row for row in runs.rows(target, "both", "score_maps")}
    assert {(row["tap"], row["height"]) for row in both.values()} == {("layer3+layer2", 16)}
    components = runs.rows(target, "both", "components")
    assert Counter(row["tap"] for row in components) == {"layer3": 10, "layer2": 10}
    assert all(row["eigenvalue_ratio"] >= 1 for row in components)
    for image_id, row in both.items():
        fine, coarse = np.array(row["map"]).reshape(16, 16), np.array(expected[image_id], np.float32).reshape(8, 8)
        assert not (fine > 0)[enlarge(coarse, 16, 16) < -0.01].any()
