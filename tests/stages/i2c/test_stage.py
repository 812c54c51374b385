"""The stage on six made images; the formulas are tested beside it."""

import json

import pytest
import torch

from pipeline.base.errors import UsageError
from pipeline.store.records import ShardResult
from pipeline.training.loop import train
from stages.i2c.centres import ClassCentres
from stages.i2c.network import I2cNetwork, Seeding
from stages.vision.backbones.build import build
from stages.vision.backbones.networks import conv_head
from stages.vision.model_card import CARD, WEIGHTS, ModelCard
from stages.vision.models import to_blobs
from tests import runs
from tests.stages import localizers, rooms

TINY = {"epochs": 3, "classes": 2, "set_size": 2, "learning_rate": 0.01}


@pytest.fixture
def made(tmp_path):
    return localizers.Made(tmp_path)


def test_the_result_is_a_classifier_of_its_own_method(made):
    """Breaks when stage cam or localize could not build the network again, or would call it the plain one's."""
    result = made.fit("i2c", **TINY, seed=3)
    before, after = json.loads(rooms.classifier()[CARD]), localizers.card(result)
    changed = {"method": "i2c", "seed": 3, "about": {"start": "classify"}, "weights_hash": after["weights_hash"]}
    assert after == {**before, **changed}
    assert after["weights_hash"] != before["weights_hash"]
    assert rooms.load_weights(result.blobs[WEIGHTS]).keys() == localizers.network().state_dict().keys()
    assert [row["images"] for row in result.tables["training"].to_pylist()] == [4, 4, 4]


def test_without_weight_it_is_a_plain_training_to_the_bit(made):
    """Breaks when seeds or centres touch the network, its random numbers or its order of images."""
    two_batches = {**TINY, "classes": 1}
    assert localizers.same_as_plain(made, "i2c", **two_batches, stochastic_weight=0.0, global_weight=0.0)
    assert not localizers.same_as_plain(made, "i2c", **two_batches, stochastic_weight=0.1, global_weight=0.0)
    assert not localizers.same_as_plain(made, "i2c", **two_batches, stochastic_weight=0.0, global_weight=0.1)


def test_warm_up_is_plain_and_ends(made):
    """Breaks when images talk, or centres move, before the warm-up is over, or it never ends."""
    assert localizers.same_as_plain(made, "i2c", **TINY, warm_up=3, stochastic_weight=0.1)
    training = made.training("i2c", localizers.network(), **TINY, warm_up=1)
    train(training, made.context())
    assert training.network.centres.counts.tolist() == [2, 2], "two of three epochs of one batch, both classes in it"


def test_seeds_are_drawn_anew_for_each_step(made):
    """Breaks when every step chooses seeds by the same random numbers."""
    training = made.training("i2c", localizers.network(), **{**TINY, "classes": 1})
    found, rand = [], training.network.rand

    def noted(*shape):
        found.append(rand(*shape))
        return found[-1]

    training.network.rand = noted
    train(training, made.context())
    assert len({drawn.numpy().tobytes() for drawn in found}) == len(found) == 6


@pytest.mark.parametrize("cut_after", [1, 2])
def test_a_resumed_training_reaches_the_same_bits(made, cut_after):
    """Breaks when centres, counters or the draw of seeds do not go on where the checkpoint left them."""
    params = {**TINY, "stochastic_weight": 0.1, "global_weight": 0.1, "warm_up": 1}
    whole, again, context = localizers.resumed(made, "i2c", cut_after, **params)
    assert again.blobs == whole.blobs
    assert again.tables["training"] == whole.tables["training"]
    assert context.saved == 3
    assert {"centres.centres", "centres.counts"} <= context.load()["network"].keys()


@pytest.mark.long
def test_two_ranks_share_classes_and_centres(tmp_path):
    """Breaks when a class is split over ranks, its centre is one rank's own, or the ranks' weights part."""
    one, other = localizers.on_two_ranks(tmp_path, "i2c", **TINY)
    assert one["centres.counts"].tolist() == [3, 3], "each rank holds one class a batch"
    for name in ("centres.centres", "centres.counts", "network.classifier.weight", "network.features.stem.0.weight"):
        assert torch.equal(one[name], other[name]), name


def together(rate, head=False):
    network = build("smallnet", 3)
    if head:
        network.head = conv_head(64, 64)
    return I2cNetwork(network, ClassCentres(3, 64), Seeding(), rate=rate).train()


@pytest.mark.parametrize("head", [False, True])
def test_logits_are_the_networks_own(head):
    """Breaks when the path that also gives seeds classifies by anything but the network."""
    both = together(0.0, head).eval()
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    logits, _, _ = both(images, torch.tensor([0, 0, 2, 2]))
    assert torch.equal(logits, both.network(images))


@pytest.mark.parametrize("head", [False, True])
def test_dropout_is_of_the_head_alone_and_in_training(head):
    """Breaks when dropout is left on for maps, reaches the features that seeds are read from, or does nothing."""
    both = together(0.5, head)
    images, labels = torch.randn(4, 3, 32, 32), torch.tensor([0, 0, 2, 2])
    seen = []
    both.network.features.register_forward_hook(lambda module, inputs, output: seen.append(output.detach().clone()))
    one, other = both(images, labels)[0], both(images, labels)[0]
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(one, other)
    both.eval()
    assert torch.equal(both(images, labels)[0], both.network(images))


def test_consistency_gives_no_gradient_to_the_head():
    """Breaks when the losses act on more than the features: the paper's object seeds are constants."""
    both = together(0.0, head=True)
    _, stochastic, common = both(torch.randn(4, 3, 32, 32), torch.tensor([0, 0, 2, 2]))
    both.centres.counts += 1
    (stochastic + both(torch.randn(4, 3, 32, 32), torch.tensor([0, 0, 2, 2]))[2] + common).backward()
    got = {name.split(".")[0] for name, value in both.network.named_parameters() if value.grad is not None}
    assert got == {"features"}


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"set_size": 3}, "set_size must be even, not 3"),
        ({"region_threshold": 1.0}, "region_threshold must be below 1"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1"),
        ({"warm_up": 9}, "warm_up must be at most epochs"),
        ({"drops": (0.5, 2.0)}, "drops must lie between 0 and 1"),
        ({"distance": "cosine"}, "distance must be one of"),
        ({"seed_rule": "first"}, "seed_rule must be one of"),
        ({"centre_decay": -1.0}, "centre_decay must be at least 0"),
    ],
)
def test_bad_parameters_are_one_clear_line(params, said):
    """Breaks when a mistake in a config is found after the classifier was trained."""
    with pytest.raises(UsageError, match=f"stage i2c: {said}"):
        localizers.stage_of("i2c", **params).check()
    localizers.stage_of("i2c").check()


def test_a_start_that_does_not_fit_is_one_clear_line(made):
    """Breaks when a box regressor, or a classifier of other classes, is trained on."""
    for name, classes, said in (
        ("psol", (), "'classify' is no classifier"),
        ("swapped", ("dog", "cat"), "the images have other classes than 'classify'"),
        ("fewer", ("cat",), "the images have other classes than 'classify'"),
    ):
        card = ModelCard(name, "smallnet", classes, input_size=64, seed=0)
        blobs = to_blobs(build("smallnet", card.num_classes), card)
        model = made.store.commit(name, "made", "k", ShardResult({}, blobs))
        with pytest.raises(UsageError, match=f"stage i2c: {said}"):
            made.fit("i2c", model=model, **TINY)


def test_its_maps_are_evaluated_under_its_name(run_copy):
    """Breaks when cam, localize or evaluate cannot use the artifact, or report it as cam."""
    target = localizers.chained(run_copy, "i2c", epochs=1, classes=10, learning_rate=0.01)
    assert {row["method"] for row in runs.rows(target, "maps", "score_maps")} == {"i2c"}
    assert {row["method"] for row in runs.rows(target, "own_classes", "predictions")} == {"i2c"}
    metrics = {row["metric"] for row in runs.rows(target, "evaluate", "metrics") if row["method"] == "i2c"}
    assert {"cls_top1", "gt_known", "max_box_acc", "top1_loc"} <= metrics
