import shutil
from collections import Counter

import numpy as np
import pytest
import torch

from pipeline.base.errors import UsageError
from stages.ddt import ddt, worker
from stages.vision.backbones.networks import LocalizerNetwork
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
    spilled = []
    built, kept = LocalizerNetwork.__init__, ddt.Kept

    def counted(network, *arguments, **named):
        built(network, *arguments, **named)
        network.features.register_forward_pre_hook(
            lambda _, inputs: seen.update({inputs[0].device.type: len(inputs[0])})
        )

    def watched(*arguments):
        spilled.append(kept(*arguments))
        return spilled[-1]

    monkeypatch.setattr(LocalizerNetwork, "__init__", counted)
    monkeypatch.setattr(ddt, "Kept", watched)
    run_copy["stages"] = {
        "classify": runs.STAGES["classify"],
        "whole": {"stage": "ddt"},
        "spilled": {"stage": "ddt", "memory": 0},
        "both": {"stage": "ddt", "tap": "layer3", "second_tap": "layer2"},
    }
    target = runs.target_of(run_copy)
    runs.execute(target, only="ingest")
    runs.execute(target, only="classify")
    images = len(runs.rows(target, "ingest", "images"))
    for name in ("whole", "spilled", "both"):
        seen.clear()
        spilled.clear()
        runs.execute(target, only=name)
        assert seen["cpu"] == images + 1, "the one more shows what can be folded"
        assert {each.spilled > 0 for each in spilled} == {name == "spilled"}
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
    (layer3, *_), (layer2, *_) = ([row for row in components if row["tap"] == tap] for tap in ("layer3", "layer2"))
    assert layer3["label"] == layer2["label"]
    deviation = np.sqrt(layer3["eigenvalues"][0])
    of_class = [image_id for image_id, row in both.items() if row["label"] == layer3["label"]]
    tops = [np.max(both[image_id]["map"]) * deviation - np.max(expected[image_id]) for image_id in of_class]
    assert max(tops) < 0.02  # in units of the coarse layer's deviation, no map exceeds that layer's own


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ({"tap": "layer9"}, "stage ddt: unknown tap of smallnet 'layer9'"),
        ({"second_tap": "layr2"}, "stage ddt: unknown tap of smallnet 'layr2'"),
        ({"second_tap": "layer3"}, "stage ddt: second_tap is layer3, as the first one"),
    ],
)
def test_layers_that_cannot_be_read_are_one_clear_line(run_copy, layers, said):
    """Breaks when a typing error is retried as a crash, or found after a class's forward passes."""
    run_copy["stages"] = {"classify": {**runs.STAGES["classify"], "epochs": 0}, "ddt": layers}
    with pytest.raises(UsageError, match=said):
        runs.execute(runs.target_of(run_copy))


def test_a_class_of_equal_images_is_flagged(run_copy, monkeypatch):
    """Breaks when a class whose descriptors do not vary gets maps of rounding noise."""
    constant = torch.full((1, 64, 8, 8), 3.0)
    monkeypatch.setattr(worker, "read_taps", lambda network, taps, images: [constant.expand(len(images), -1, -1, -1)])
    run_copy["stages"] = {"classify": {**runs.STAGES["classify"], "epochs": 0}, "ddt": {}}
    target = runs.target_of(run_copy)
    runs.execute(target)
    rows = runs.rows(target, "ddt", "score_maps")
    assert {row["flag"] for row in rows} == {"degenerate_class"}
    assert not any(any(row["map"]) for row in rows)
    assert {row["flag"] for row in runs.rows(target, "ddt", "components")} == {"degenerate_class"}


def test_a_map_that_is_not_finite_stops_the_stage(run_copy, monkeypatch):
    """Breaks when an overflow in an image outside train becomes an ordinary map."""
    monkeypatch.setattr(worker.Projection, "of", lambda projection, features: features[:, 0].float() + float("inf"))
    run_copy["stages"] = {"classify": {**runs.STAGES["classify"], "epochs": 0}, "ddt": {}}
    with pytest.raises(ValueError, match="65504"):
        runs.execute(runs.target_of(run_copy))
