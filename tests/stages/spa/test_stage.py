"""The stage on six made images; the formulas are test_ram.py's."""

import json
from typing import Any

import pytest
import torch

from pipeline.base.errors import UsageError
from pipeline.store.records import ShardResult
from pipeline.training.loop import train
from stages.classify.options import ClassifyParams
from stages.classify.trainer import ClassifyTrainer
from stages.spa.network import RestrictedNetwork
from stages.spa.options import SpaParams
from stages.vision.backbones.build import build
from stages.vision.backbones.weights import weights_hash
from stages.vision.model_card import CARD, ModelCard
from stages.vision.models import to_blobs
from tests import runs
from tests.stages import localizers, rooms

TINY = {"epochs": 3, "batch_size": 2, "first_epoch": 1, "learning_rate": 0.01}


@pytest.fixture
def made(tmp_path):
    return localizers.Made(tmp_path)


def test_the_result_is_a_classifier_of_its_own_method(made):
    """Breaks when stage cam or localize could not build the network again, or would call it the plain one's."""
    result = made.fit("spa", **TINY, seed=3)
    before, after = json.loads(rooms.classifier()[CARD]), localizers.card(result)
    changed = {"method": "spa", "seed": 3, "about": {"start": "classify"}, "weights_hash": after["weights_hash"]}
    assert after == {**before, **changed}
    assert [row["images"] for row in result.tables["training"].to_pylist()] == [4, 4, 4]


def test_without_weight_it_is_a_plain_training_to_the_bit(made):
    """Breaks when the module touches the network, its random numbers or its order of images."""
    assert localizers.same_as_plain(made, "spa", **TINY, weight=0.0)
    assert not localizers.same_as_plain(made, "spa", **TINY, weight=0.5)


def test_without_weight_it_is_stage_classify(made):
    """Breaks when batches, rates or schedule of the two trainings part where their parameters say the same."""
    same: dict[str, Any] = {"epochs": 2, "batch_size": 2, "learning_rate": 0.02, "schedule": "one_cycle", "seed": 4}
    plain = {"head_rate": 1.0, "bias_rate": 1.0, "decay_biases": False, "crop": 1.0, "mirror": False}
    ours = made.fit("spa", **same, **plain, weight=0.0)
    trainer = ClassifyTrainer("classify", ClassifyParams(**same))
    network = localizers.network()
    train(trainer.training(network, made.rows(), 64, made.context()), made.context())
    assert localizers.card(ours)["weights_hash"] == weights_hash(network)


def test_the_loss_begins_at_its_epoch(made):
    """Breaks when the module starts before e0 or not at all: its first epochs are the plain training's."""
    losses = [
        made.fit("spa", **{**TINY, "first_epoch": first}).tables["training"].column("loss").to_pylist()
        for first in (1, 2)
    ]
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] > losses[1][1]


@pytest.mark.parametrize("cut_after", [1, 2])
def test_a_resumed_training_reaches_the_same_bits(made, cut_after):
    """Breaks when a resumed training counts its epochs anew, and switches the module on too late."""
    whole, again, context = localizers.resumed(made, "spa", cut_after, **TINY)
    assert again.blobs == whole.blobs
    assert again.tables["training"] == whole.tables["training"]
    assert context.saved == 3


def test_the_mean_of_the_maps_are_the_logits():
    """Breaks when maps lack the bias, which the sigmoid needs, or are those of other features."""
    network = RestrictedNetwork(build("smallnet", 3)).eval()
    torch.nn.init.normal_(network.network.classifier.bias)
    logits, maps = network(torch.randn(2, 3, 32, 32))
    assert maps.shape == (2, 3, 4, 4)
    torch.testing.assert_close(maps.mean(dim=(2, 3)), logits)


def test_presets_fill_what_is_null_and_scale_with_the_epochs():
    """Breaks when a preset overrides what was given, or e0 stays at 20 of a training of 10 epochs."""
    cub, short = SpaParams().filled(), SpaParams(epochs=10, weight=0.0).filled()
    assert (cub.epochs, cub.batch_size, cub.ram.first_epoch, cub.drops) == (100, 30, 20, (0.8,))
    assert (cub.ram.weight, cub.ram.threshold, cub.ram.gap) == (0.5, 0.1, 0.2)
    assert (short.epochs, short.ram.first_epoch, short.ram.weight) == (10, 2, 0.0)
    ilsvrc = SpaParams(preset="ilsvrc", gap=0.3).filled()
    assert (ilsvrc.epochs, ilsvrc.batch_size, ilsvrc.ram.first_epoch, ilsvrc.drops) == (20, 16, 5, (0.5, 0.75))
    assert (ilsvrc.ram.weight, ilsvrc.ram.threshold, ilsvrc.ram.gap) == (0.5, 0.4, 0.3)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"preset": "coco"}, "preset must be one of cub, ilsvrc"),
        ({"gap": -0.1}, "gap must be at least 0"),
        ({"drops": (1.0,)}, "drops must lie between 0 and 1"),
        ({"epochs": 5, "first_epoch": 5}, "first_epoch must be at most 4, not 5"),
    ],
)
def test_bad_parameters_are_one_clear_line(params, said):
    """Breaks when a mistake in a config is found after the classifier was trained, or a module is never switched on."""
    with pytest.raises(UsageError, match=f"stage spa: {said}"):
        localizers.stage_of("spa", **params).check()
    localizers.stage_of("spa").check()


def test_one_class_is_one_clear_line(made):
    """Breaks when a variance over a single class ends in a traceback, or in NaN."""
    card = ModelCard("classify", "smallnet", ("cat",), input_size=64, seed=0)
    model = made.store.commit("one", "made", "k", ShardResult({}, to_blobs(build("smallnet", 1), card)))
    made.images = made.store.commit("cats", "made", "k", ShardResult({"images": made.table.filter(_cats(made.table))}))
    with pytest.raises(UsageError, match="stage spa: a variance over classes needs two of them"):
        made.fit("spa", model=model, **TINY)


def _cats(table):
    return [name == "cat" for name in table.column("label_name").to_pylist()]


def test_its_maps_are_evaluated_under_its_name(run_copy):
    """Breaks when cam, localize or evaluate cannot use the artifact, or report it as cam."""
    target = localizers.chained(run_copy, "spa", epochs=1, batch_size=16, learning_rate=0.01)
    assert {row["method"] for row in runs.rows(target, "maps", "score_maps")} == {"spa"}
    metrics = {row["metric"] for row in runs.rows(target, "evaluate", "metrics") if row["method"] == "spa"}
    assert {"gt_known", "max_box_acc", "top1_loc"} <= metrics
