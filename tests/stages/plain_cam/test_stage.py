"""The stage on six made images; the techniques' formulas have tests of their own."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base.errors import UsageError
from pipeline.contract.resources import StageResources
from pipeline.contract.runner import Job
from pipeline.running.in_process import InProcessRunner
from pipeline.store.records import Shard, Task
from pipeline.training.loop import train
from stages import catalog
from stages.plain_cam.parameters import TECHNIQUES
from stages.plain_cam.techniques import adl_threshold
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.backbones.registry import backbone
from stages.vision.batches import to_batch
from stages.vision.images import decode, resize
from stages.vision.model_card import CARD, WEIGHTS, read_card
from stages.vision.models import load_network
from stages.vision.preprocessing import IMAGENET
from tests import runs
from tests.stages import localizers, rooms

SPLITS = ("train", "dev", "test")
TINY = {"epochs": 2, "batch_size": 2, "learning_rate": 0.01}


@pytest.fixture
def made(tmp_path):
    return localizers.Made(tmp_path)


@pytest.fixture
def commit(made):
    """Train with a technique and keep the result in the store."""

    def committed(technique, **params):
        result = made.fit("plain_cam", technique=technique, **TINY, **params)
        return made.store.commit(technique, "made", "k", result)

    return committed


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_the_result_is_a_classifier_of_the_techniques_name(made, technique):
    """Breaks when stage cam or localize could not build the network again, or side branches are kept."""
    result = made.fit("plain_cam", technique=technique, **TINY, seed=3)
    before, after = json.loads(rooms.classifier()[CARD]), localizers.card(result)
    method = "plain_cam" if technique == "none" else technique
    parts = {"acol_threshold": 0.6} if technique == "acol" else {}
    changed = {"method": method, "seed": 3, "parts": parts, "about": {"start": "classify"}}
    assert after == {**before, **changed, "weights_hash": after["weights_hash"]}
    assert after["weights_hash"] != before["weights_hash"]
    children = {name.split(".")[0] for name in network_of(result.blobs).state_dict()}
    assert children == {"features", "classifier"} | ({"second_classifier"} if technique == "acol" else set())
    assert [row["images"] for row in result.tables["training"].to_pylist()] == [4, 4]
    assert read_card(result.blobs[CARD]).is_classifier == (technique != "acol")


def test_none_is_plain_cross_entropy_to_the_bit(made):
    """Breaks when the baseline is anything else than the same budget of cross-entropy."""
    assert localizers.same_as_plain(made, "plain_cam", **TINY)


@pytest.mark.parametrize(
    "params",
    [
        {"technique": "has", "has_rate": 0.0},
        {"technique": "cutmix", "cutmix_probability": 0.0},
    ],
)
def test_an_augmentation_that_changes_nothing_is_the_baseline_to_the_bit(made, params):
    """Breaks when a technique changes more than the images that it is about: views, rates or order."""
    assert localizers.card(made.fit("plain_cam", **params, **TINY))["weights_hash"] == baseline(made)


@pytest.mark.parametrize("technique", TECHNIQUES[1:])
def test_every_technique_changes_what_is_learnt(made, technique):
    """Breaks when a technique is accepted and not applied: its first branch or classifier is the baseline's."""
    result = made.fit("plain_cam", technique=technique, **TINY)
    plain = made.fit("plain_cam", **TINY)
    one, other = (network_of(r.blobs).state_dict() for r in (result, plain))
    for name in ("classifier.weight", "features.stem.0.weight"):
        assert not torch.equal(one[name], other[name]), name


def network_of(blobs: dict[str, bytes]) -> LocalizerNetwork:
    """The network of an artifact, as stages cam and localize load it."""
    return load_network(catalog.LOADERS.networks, read_card(blobs[CARD]), blobs[WEIGHTS], "cpu")


def baseline(made):
    return localizers.card(made.fit("plain_cam", **TINY))["weights_hash"]


@pytest.mark.parametrize("technique", TECHNIQUES[1:])
def test_a_resumed_training_reaches_the_same_bits(made, technique):
    """Breaks when random choices are not the epoch's own, or a branch is not in the checkpoint."""
    whole, again, context = localizers.resumed(made, "plain_cam", 1, technique=technique, **TINY)
    assert again.blobs == whole.blobs
    assert again.tables["training"] == whole.tables["training"]
    assert context.saved == 2


def test_the_seed_draws_the_side_branches(made):
    """Breaks when side branches begin with whatever torch's generator is at, or always the same."""
    states: list[torch.Tensor] = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(states))
        training = made.training("plain_cam", localizers.network(), technique="spg", seed=seed, **TINY)
        states.append(training.network.state_dict()["deep.0.weight"])
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_side_branches_train_at_the_heads_rate(made):
    """Breaks when a side branch never trains, or at the features' rate."""
    training = made.training("plain_cam", localizers.network(), technique="spg", head_rate=7.0, **TINY)
    rates = {id(value): group["lr"] for group in training.optimizer.param_groups for value in group["params"]}
    named = dict(training.network.named_parameters())
    assert rates.keys() == {id(value) for value in named.values()}
    for name, value in named.items():
        below = name.startswith("network.features.")
        assert rates[id(value)] == pytest.approx(0.01 if below else 0.07), name


@pytest.mark.parametrize("params", [{"technique": "adl"}, {"technique": "adl", "taps": ("layer2",)}])
def test_dropout_stands_behind_the_taps(made, params):
    """Breaks when the default taps, or those that were named, are not those with dropout; or the rule is ignored."""
    wrapped = made.training("plain_cam", localizers.network(), **params, **TINY).network
    layers = params.get("taps", ("layer3", "layer1"))
    assert wrapped.paths == tuple(f"features.{layer}" for layer in layers)
    assert (wrapped.rate, wrapped.threshold) == (0.75, 0.8)


@pytest.mark.parametrize(
    ("name", "threshold"),
    [
        ("resnet50_s16", 0.9),
        ("inception_v3_spg", 0.9),
        ("vgg16_cam", 0.8),
        ("timm:seresnet50", 0.9),
        ("timm:vgg16", 0.8),
    ],
)
def test_the_usual_threshold_of_attention_based_dropout(name, threshold):
    """Breaks when a backbone gets another one's threshold."""
    assert adl_threshold(name) == threshold


@pytest.mark.long
def test_two_ranks_agree(tmp_path):
    """Breaks when a side branch is left out of the averaging of gradients, or a worker waits for one."""
    one, other = localizers.on_two_ranks(tmp_path, "plain_cam", technique="spg", **TINY)
    for name in ("network.classifier.weight", "network.features.stem.0.weight", "shallow.0.weight", "fused.1.bias"):
        assert torch.equal(one[name], other[name]), name


def computed(made, kind, model, **params):
    """The table of a per-image stage on the made images."""
    stage = catalog.create(kind, kind, catalog.params_type(kind)(**params))
    task = Task(Shard("k", rows_from="images"), {"images": (made.images,), "model": (model,)})
    found: list[Any] = []
    InProcessRunner().run(Job(stage, "r", [task], made.store, StageResources()), found.append)
    return found[0]


@pytest.mark.parametrize("classes", ["label", "predicted"])
def test_maps_and_classes_of_two_branches(made, commit, classes):
    """Breaks when stage cam makes the first branch's maps alone, or calls them another's, or of another class."""
    model = commit("acol")
    maps = made.store.table(computed(made, "cam", model, classes=classes), "score_maps").to_pylist()
    predictions = made.store.table(computed(made, "localize", model, splits=SPLITS), "predictions").to_pylist()
    network = network_of({name: made.store.blob(model, name) for name in (CARD, WEIGHTS)})
    images = {row["image_id"]: row for row in made.table.to_pylist()}
    for row, said in zip(maps, predictions, strict=True):
        label = images[row["image_id"]]["label"] if classes == "label" else said["classes"][0]
        assert (row["method"], said["method"]) == ("acol" if classes == "label" else "acol_predicted", "acol")
        assert (row["label"], row["tap"], row["backbone"]) == (label, "features", "smallnet")
        with open(images[row["image_id"]]["uri"], "rb") as file:
            pixels = to_batch([resize(decode(file.read()), 64)], IMAGENET)
        with torch.inference_mode():
            expected = network.class_maps(pixels, torch.tensor([label]))[1][0].numpy()
        found = np.array(row["map"], np.float32).reshape(expected.shape)
        np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("technique", ["none", "has"])
def test_maps_bear_the_techniques_name(made, commit, technique):
    """Breaks when maps of two trainings cannot be told apart in one table, or the baseline is not called cam."""
    rows = made.store.table(computed(made, "cam", commit(technique)), "score_maps").to_pylist()
    assert {row["method"] for row in rows} == {"plain_cam" if technique == "none" else technique}


@pytest.mark.parametrize("params", [{"form": "simplified"}, {"negative_weights": False}])
def test_options_without_meaning_for_two_branches_are_one_clear_line(made, commit, params):
    """Breaks when an option of stage cam is accepted and ignored."""
    with pytest.raises(UsageError, match="stage cam: maps of acol are classic"):
        computed(made, "cam", commit("acol"), **params)


@pytest.mark.parametrize("kind", ["plain_cam", "spa"])
def test_no_localizer_starts_from_two_branches(made, commit, kind):
    """Breaks when a second branch that no longer trains stays in the artifact and makes its maps."""
    with pytest.raises(UsageError, match=f"stage {kind}: 'classify' has more parts than a classifier"):
        made.fit(kind, model=commit("acol"), epochs=1, batch_size=2)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"technique": "mixup"}, "technique must be one of none, has"),
        ({"technique": "has", "has_rate": 1.5}, r"has_rate must lie in \[0, 1\], not 1.5"),
        ({"technique": "has", "has_grid": 0.0}, "has_grid must be above 0"),
        ({"technique": "has", "adl_rate": 0.5}, "adl_rate is an option of technique adl, not of has"),
        ({"technique": "cutmix", "cutmix_beta": -1.0}, "cutmix_beta must be above 0"),
        ({"technique": "cutmix", "batch_size": 7}, "batch_size must be even for cutmix"),
        ({"technique": "cutmix", "taps": ("layer3",)}, "taps are for spg and adl, not for technique cutmix"),
        ({"technique": "spg", "taps": ("layer3",)}, "taps must be two, not 1"),
        ({"technique": "spg", "taps": ("layer3", "layer3")}, "taps must differ, not layer3, layer3"),
        ({"technique": "adl", "taps": ()}, "taps must be one at least, not 0"),
        ({"technique": "spg", "spg_high": (0.7, 0.5)}, "spg_high and spg_low must have three values each"),
        ({"technique": "spg", "spg_low": (0.01, 0.6, 0.1)}, "a guide's low threshold 0.6 is above its high one 0.5"),
        ({"drops": (1.0,)}, "drops must lie between 0 and 1"),
    ],
)
def test_bad_parameters_are_one_clear_line(params, said):
    """Breaks when a mistake in a config is found after the classifier was trained."""
    with pytest.raises(UsageError, match=f"stage plain_cam: {said}"):
        localizers.stage_of("plain_cam", **params).check()
    localizers.stage_of("plain_cam").check()


def test_an_unknown_tap_is_one_clear_line(made):
    """Breaks when a tap that the backbone does not have ends in a traceback."""
    with pytest.raises(UsageError, match="stage plain_cam: unknown tap of smallnet 'layer9'"):
        made.fit("plain_cam", technique="adl", taps=("layer9",), **TINY)


def test_a_tap_beside_the_way_to_the_classes_is_one_clear_line(made):
    """Breaks when dropout behind a layer that no class depends on is a baseline by another name."""
    entry = backbone("vit_tiny_p8")
    network = LocalizerNetwork(torch.nn.Identity(), 3, 2)
    network.backbone = entry.name
    with pytest.raises(ValueError, match="classes of vit_tiny_p8 do not depend on tap 'keys'"):
        made.training("plain_cam", network, technique="adl", taps=("keys",), **TINY)


def test_bfloat16_trains(made):
    """Breaks when a technique mixes types under autocast."""
    for technique in TECHNIQUES:
        trainer = localizers.stage_of("plain_cam", technique=technique, precision="bfloat16", **TINY).trainer()
        network = trainer.network(localizers.network())
        log = train(trainer.training(network, made.rows(), 64, made.context()), made.context())
        assert all(np.isfinite(epoch.loss) for epoch in log), technique


def test_its_maps_are_evaluated_under_the_techniques_name(run_copy):
    """Breaks when a run's config cannot name the technique, or evaluate reports its maps as cam."""
    target = localizers.chained(
        run_copy, "plain_cam", technique="acol", epochs=1, batch_size=16, learning_rate=0.01, drops=[0.5]
    )
    assert {row["method"] for row in runs.rows(target, "maps", "score_maps")} == {"acol"}
    metrics = {row["metric"] for row in runs.rows(target, "evaluate", "metrics") if row["method"] == "acol"}
    assert {"gt_known", "max_box_acc", "top1_loc"} <= metrics
