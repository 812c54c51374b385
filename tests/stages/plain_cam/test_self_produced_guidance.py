import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from stages.plain_cam.guided_network import GuidedNetwork, tap_channels
from stages.plain_cam.parameters import Guides, Sureness
from stages.plain_cam.self_produced_guidance import IGNORED, guidance_mask, guided_loss, masked_cross_entropy
from stages.plain_cam.techniques import deep_and_shallow
from stages.vision.backbones.build import build
from stages.vision.backbones.label_maps import label_maps
from stages.vision.backbones.registry import BACKBONES
from stages.vision.backbones.taps import tapped
from stages.vision.tensor_normalisation import min_max

SURE = Sureness(0.7, 0.1)
GUIDES = Guides(Sureness(0.7, 0.01), Sureness(0.5, 0.05), Sureness(0.7, 0.1))
DEEP, SHALLOW = "features.layer2", "features.layer1"


def gradient(values: torch.Tensor) -> torch.Tensor:
    assert values.grad is not None
    return values.grad


def test_masks_by_thresholds():
    """Breaks when object and background are swapped, or a value at a threshold is taken for sure."""
    guide = torch.tensor([[[0.0, 0.09, 0.1, 0.5], [0.7, 0.71, 1.0, 0.2]]])
    assert guidance_mask(guide, SURE).tolist() == [[[0, 0, IGNORED, IGNORED], [IGNORED, 1, 1, IGNORED]]]


def test_thresholds_that_cross_are_refused():
    """Breaks when a position could be object and background."""
    with pytest.raises(ValueError, match=r"low threshold 0\.6 is above its high one 0\.5"):
        Sureness(0.5, 0.6)


def test_the_loss_is_the_mean_over_what_is_not_ignored():
    """Breaks when ignored positions count in the sum or in the mean, or objects are taught to be background."""
    torch.manual_seed(0)
    logits, mask = torch.randn(2, 5, 4), torch.tensor([0, 1, IGNORED])[torch.randint(3, (2, 5, 4))].byte()
    known = mask != IGNORED
    means = [
        binary_cross_entropy_with_logits(logits[n][known[n]], mask[n][known[n]].float()) for n in range(len(logits))
    ]
    torch.testing.assert_close(masked_cross_entropy(logits, mask), torch.stack(means).mean())


def test_an_images_guidance_weighs_the_same_in_any_batch():
    """Breaks when the mean runs over the positions of a batch: it would depend on how the batch is divided."""
    torch.manual_seed(0)
    logits = torch.randn(4, 5, 4)
    unsure = torch.rand(4, 5, 4) < torch.tensor([0.1, 0.3, 0.6, 0.9]).view(4, 1, 1)
    mask = torch.where(unsure, IGNORED, 1).byte()
    apart = 3 * masked_cross_entropy(logits[:3], mask[:3]) + masked_cross_entropy(logits[3:], mask[3:])
    torch.testing.assert_close(masked_cross_entropy(logits, mask), apart / 4)


def test_ignored_positions_pass_no_gradient():
    """Breaks when a position without guidance learns."""
    logits = torch.zeros(1, 1, 3, requires_grad=True)
    masked_cross_entropy(logits, torch.tensor([[[0, 1, IGNORED]]]).byte()).backward()
    assert gradient(logits).tolist() == [[[0.25, -0.25, 0.0]]]


def test_nothing_sure_is_no_loss_but_a_gradient():
    """Breaks when a batch without guidance ends in NaN, or several workers wait for its gradients."""
    logits = torch.randn(1, 2, 2, requires_grad=True)
    loss = masked_cross_entropy(logits, torch.full((1, 2, 2), IGNORED, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0
    assert gradient(logits).tolist() == [[[0.0, 0.0], [0.0, 0.0]]]


def test_the_guide_is_fitted_to_the_logits_and_learns_nothing():
    """Breaks when maps of two resolutions are compared cell by cell, or guidance trains the guide."""
    guide = torch.tensor([[[0.0, 1.0]]], requires_grad=True)
    logits = torch.zeros(1, 2, 8, requires_grad=True)
    guided_loss(logits, guide, Sureness(0.9, 0.1)).backward()
    assert torch.equal(gradient(logits).sign(), torch.tensor([1, 1, 0, 0, 0, 0, -1, -1.0]).expand(1, 2, 8))
    assert guide.grad is None


@pytest.fixture
def guided():
    network = build("smallnet", 3).eval()
    channels = tap_channels(network, (DEEP, SHALLOW), 64)
    assert channels == (32, 16)
    torch.manual_seed(0)
    return GuidedNetwork(network, (DEEP, SHALLOW), channels, GUIDES)


IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2])


def test_the_class_map_guides_b2_which_guides_b1_and_both_guide_c(guided):
    """Breaks when a guide teaches another branch, its thresholds are another's, or maps are of another class."""
    network = guided.network
    with tapped(network, DEEP) as deep_tap, tapped(network, SHALLOW) as shallow_tap:
        features = network.features(IMAGES)
    attention = min_max(label_maps(features, network.classifier.weight, LABELS))
    deep = guided.shared(guided.deep(deep_tap.output))[:, 0]
    shallow = guided.shared(guided.shallow(shallow_tap.output))[:, 0]
    enlarged = torch.nn.functional.interpolate(deep.sigmoid()[:, None], scale_factor=2, mode="bilinear")[:, 0]
    expected = [
        guided_loss(deep, attention, GUIDES.attention),
        guided_loss(shallow, enlarged, GUIDES.deep),
        guided_loss(guided.fused(features)[:, 0], (enlarged + shallow.sigmoid()) / 2, GUIDES.fused),
    ]
    logits, guidance = guided(IMAGES, LABELS)
    torch.testing.assert_close(guidance, sum(expected))
    assert expected[0] > 0
    assert torch.equal(logits, network(IMAGES))


def test_guidance_teaches_the_layers_and_not_the_classifier(guided):
    """Breaks when the class map is driven towards what it says itself."""
    guided(IMAGES, LABELS)[1].backward()
    assert guided.network.classifier.weight.grad is None
    assert guided.network.features.layer1[0].body[0].weight.grad.any()


def test_every_parameter_learns_and_no_hook_is_left(guided):
    """Breaks when several workers would wait for the gradient of a part that no loss reaches, or taps stay."""
    logits, guidance = guided.train()(IMAGES, LABELS)
    (logits.sum() + guidance).backward()
    assert [name for name, value in guided.named_parameters() if value.grad is None] == []
    assert not any(module._forward_hooks for module in guided.modules())


def test_the_side_parameters_are_those_beside_the_classifier(guided):
    """Breaks when a side branch is not trained, or the classifier twice."""
    own = {name for name, _ in guided.network.named_parameters()}
    names = [name for name, _ in guided.side_parameters()]
    assert {name.split(".")[0] for name in names} == {"deep", "shallow", "shared", "fused"}
    assert len(own) + len(names) == len(list(guided.parameters()))


def test_the_statistics_stay_while_channels_are_counted():
    """Breaks when an empty image enters the batch statistics of the network."""
    network = build("smallnet", 3).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    tap_channels(network, (DEEP,), 32)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("name", "taps"),
    [
        ("smallnet", ("layer2", "layer1")),
        ("resnet50", ("layer3", "layer2")),
        ("vgg16_cam", ("relu5_2", "pool4")),
        ("inception_v3_spg", ("mixed_6e", "mixed_5d")),
    ],
)
def test_the_usual_layers(name, taps):
    """Breaks when the registry's order changes, and guidance silently teaches other layers."""
    assert deep_and_shallow(tuple(BACKBONES[name].taps)) == taps


def test_one_layer_is_refused():
    """Breaks when both branches would stand on the same layer."""
    with pytest.raises(ValueError, match="needs two layers, this backbone has features alone"):
        deep_and_shallow(("features",))
