import pytest
import torch
from torch import nn

from stages.vision.backbones.build import build
from stages.vision.model_card import CARD, WEIGHTS, ModelCard, read_card
from stages.vision.models import load_network, plain_network, to_blobs
from tests.stages.vision.trained_looking import normalisations, random_images, with_statistics

PLAIN = ModelCard("classify", "smallnet", ("cat", "dog"), input_size=64, seed=0)


def test_order_and_memory_layout_do_not_matter():
    """Breaks when the same weights get other bytes because a model was built or laid out differently."""
    first, second = nn.Conv2d(3, 5, 3), nn.Linear(2, 2)
    one, other = nn.Module(), nn.Module()
    one.add_module("first", first)
    one.add_module("second", second)
    other.add_module("second", second)
    other.add_module("first", nn.Conv2d(3, 5, 3))
    other.load_state_dict(one.state_dict())
    turned = other.to(memory_format=torch.channels_last)
    assert list(one.state_dict()) != list(turned.state_dict())
    assert to_blobs(turned, PLAIN) == to_blobs(one, PLAIN)


def test_a_network_comes_back_ready_to_predict():
    """Breaks when weights or statistics are lost on the way, or the network comes back in training mode."""
    network = build("smallnet", 2, seed=1)
    network(torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    blobs = to_blobs(network, PLAIN)
    card = read_card(blobs[CARD])
    again = plain_network(card, blobs[WEIGHTS], "cpu")
    assert not again.training
    assert again.backbone == "smallnet"
    state = network.state_dict()
    assert state.keys() == again.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in again.state_dict().items())
    assert to_blobs(again, PLAIN) == blobs


def test_networks_that_predict_are_folded_and_those_that_train_are_not():
    """Breaks when maps are made at the slower speed, or a training starts from a network without normalisations."""
    blobs = to_blobs(with_statistics(build("smallnet", 2)), PLAIN)
    trained, ready = plain_network(PLAIN, blobs[WEIGHTS]), load_network({}, PLAIN, blobs[WEIGHTS], "cpu")
    assert len(normalisations(trained)) == 9
    assert normalisations(ready) == []
    torch.testing.assert_close(ready(random_images(64)), trained(random_images(64)))


def test_the_card_says_the_hash_of_its_weights():
    """Breaks when two trainings of one config cannot be told apart by their cards."""
    one, other = (read_card(to_blobs(build("smallnet", 2, seed), PLAIN)[CARD]) for seed in (1, 2))
    assert len(one.weights_hash) == 64
    assert one.weights_hash != other.weights_hash


def test_parts_choose_the_loader_of_the_method():
    """Breaks when a network with more parts is built as a plain one, or a classifier of any method needs a line."""
    blobs = to_blobs(build("smallnet", 2), PLAIN)
    loaders = {"two": f"{__name__}:_loaded"}
    assert load_network(loaders, ModelCard("two", "smallnet", ("a", "b"), 64, 0), blobs[WEIGHTS], "cpu").backbone
    with pytest.raises(LookupError, match="asked for cpu"):
        load_network(loaders, ModelCard("two", "smallnet", ("a", "b"), 64, 0, {"hidden": 1}), blobs[WEIGHTS], "cpu")


def _loaded(card, weights, device):
    assert plain_network(card, weights).backbone == card.backbone
    raise LookupError(f"asked for {device}")
