from copy import deepcopy
from typing import Any

import pytest
import torch

from stages.plain_cam.two_branches import THRESHOLD, TwoBranchNetwork, erase, load
from stages.vision.backbones.build import build
from stages.vision.backbones.label_maps import label_maps
from stages.vision.backbones.networks import LocalizerNetwork, conv_head
from stages.vision.model_card import CARD, WEIGHTS, ModelCard, read_card
from stages.vision.models import to_blobs
from stages.vision.tensor_normalisation import min_max

LABELS = torch.tensor([0, 2])
IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def two_branches(head: bool = False, threshold: float = 0.6) -> Any:
    """Two branches that differ, over the small network."""
    network = build("smallnet", 3)
    torch.manual_seed(0)
    if head:
        network.head = conv_head(64, 64)
    made = TwoBranchNetwork(network, threshold)
    torch.nn.init.normal_(made.second_classifier.weight)
    return made.eval()


@pytest.mark.parametrize("threshold", [0.0, 0.6, 1.0])
def test_what_exceeds_the_threshold_is_zero_and_nothing_else(threshold):
    """Breaks when the map is not min-maxed, the comparison is turned round, or the rest is rescaled."""
    torch.manual_seed(0)
    features, maps = torch.rand(3, 4, 5, 6) + 1, torch.randn(3, 5, 6) * 10
    found = erase(features, maps, threshold)
    for image, score_map, kept in zip(features, maps, found, strict=True):
        over = (score_map - score_map.min()) / (score_map.max() - score_map.min()) > threshold
        assert torch.equal(kept, torch.where(over, 0, image))


def test_a_constant_map_erases_nothing():
    """Breaks when a map without contrast erases all that the second branch could see."""
    features = torch.rand(1, 2, 3, 3)
    assert torch.equal(erase(features, torch.full((1, 3, 3), 7.0), 0.0), features)


@pytest.mark.parametrize("head", [False, True])
def test_the_second_branch_reaches_the_features_where_nothing_was_erased_alone(head):
    """Breaks when erased positions learn from the second branch, or the first classifier learns through the mask."""
    network = two_branches(head)
    shared = network.features(IMAGES).detach().requires_grad_()
    network.features = torch.nn.Identity()
    first, second = network.branch_features(shared, LABELS)
    loss = torch.nn.functional.cross_entropy(network.second_classifier(second.mean(dim=(2, 3))), LABELS)
    loss.backward()
    over = min_max(label_maps(first, network.classifier.weight, LABELS)) > 0.6
    assert over.any()
    assert not shared.grad[over[:, None].expand_as(shared)].any()
    assert (shared.grad.abs().sum(dim=1)[~over] > 0).float().mean() > 0.9
    assert network.classifier.weight.grad is None
    assert not head or network.head.conv6.weight.grad is None


@pytest.mark.parametrize("head", [False, True])
def test_maps_are_the_larger_of_both_branches(head):
    """Breaks when a branch is left out, the maps are not normalised one by one, or the second sees what was erased."""
    network = two_branches(head)
    labels, maps = network.class_maps(IMAGES, LABELS)
    shared = network.features(IMAGES)
    for n, label in enumerate(LABELS):
        first = shared[n] if not head else network.head(shared[n : n + 1])[0]
        one = torch.einsum("khw,k->hw", first, network.classifier.weight[label])
        erased = shared[n] * (min_max(one) <= 0.6)
        second = erased if not head else network.second_head(erased[None])[0]
        other = torch.einsum("khw,k->hw", second, network.second_classifier.weight[label])
        torch.testing.assert_close(maps[n], torch.maximum(min_max(one), min_max(other)))
    assert torch.equal(labels, LABELS)


def test_classes_are_those_of_the_first_branch():
    """Breaks when logits change by the second branch, or maps without labels are of another class than the first's."""
    network = two_branches()
    with torch.inference_mode():
        logits = network(IMAGES)
        predicted, maps = network.class_maps(IMAGES, None)
        assert torch.equal(predicted, logits.argmax(dim=1))
        assert torch.equal(maps, network.class_maps(IMAGES, predicted)[1])
        assert torch.equal(logits, network.classifier(network.features(IMAGES).mean(dim=(2, 3))))


def test_the_second_branch_begins_as_a_copy():
    """Breaks when the branches share their weights, or the second one depends on torch's random numbers."""
    network = build("smallnet", 3)
    before = deepcopy(network.state_dict())
    made = TwoBranchNetwork(network, 0.6)
    state = made.state_dict()
    assert all(torch.equal(state[name], value) for name, value in before.items())
    assert torch.equal(state["second_classifier.weight"], before["classifier.weight"])
    assert made.second_classifier.weight is not made.classifier.weight
    assert made.backbone == "smallnet"


@pytest.mark.parametrize("head", [False, True])
def test_both_branches_train_at_the_heads_rate(head):
    """Breaks when the second branch trains as if it were part of the features."""
    body, heads = two_branches(head).trained_parameters()
    assert {name.split(".")[0] for name, _ in body} == {"features"}
    expected = {"classifier", "second_classifier"} | ({"head", "second_head"} if head else set())
    assert {name.split(".")[0] for name, _ in heads} == expected


def test_the_artifact_is_built_again():
    """Breaks when the card does not say that there are two branches, or the threshold is lost."""
    network = two_branches(threshold=0.3)
    parts = {THRESHOLD: network.threshold}
    card = ModelCard("acol", "smallnet", ("cat", "dog", "cow"), input_size=64, seed=0, parts=parts)
    blobs = to_blobs(network, card)
    assert not read_card(blobs[CARD]).is_classifier
    again = load(read_card(blobs[CARD]), blobs[WEIGHTS], "cpu")
    assert again.maps_itself
    assert again.threshold == 0.3
    with torch.inference_mode():
        torch.testing.assert_close(again.class_maps(IMAGES, LABELS)[1], network.class_maps(IMAGES, LABELS)[1])


def test_a_plain_network_has_no_maps_of_its_own():
    """Breaks when every classifier is taken for one that makes its own maps."""
    network = build("smallnet", 2)
    assert not network.maps_itself
    with pytest.raises(TypeError, match="is an ordinary classifier"):
        network.class_maps(IMAGES, LABELS)
    assert issubclass(TwoBranchNetwork, LocalizerNetwork)


def test_maps_are_summed_in_float32_under_autocast():
    """Breaks when a thousand channels are added up in bfloat16."""
    features, weight = torch.ones(1, 1000, 1, 1), torch.ones(1, 1000)
    weight[0, 0] = 0.5
    with torch.autocast("cpu", torch.bfloat16):
        assert label_maps(features.bfloat16(), weight, torch.tensor([0])).item() == 999.5
