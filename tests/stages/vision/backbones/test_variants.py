"""Networks that differ from a published one in strides and poolings alone."""

from typing import Any

import pytest
import torch
import torchvision

from stages.vision.backbones.build import build
from stages.vision.backbones.inception import _Mixed6aStride1, _Rescale
from tests.stages.vision.backbones.made import meta_network

SAME_WEIGHTS = [
    ("mobilenet_v2", "mobilenet_v2_s8"),
    ("resnet50", "resnet50_s16"),
    ("resnet50", "resnet50_s8"),
    ("vgg16_acol", "vgg16_acol28"),
    ("vit_s16", "vit_s16_gap"),
]


PATHS = ("conv2", "downsample.0")


def layout(network):
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize(("published", "variant"), SAME_WEIGHTS)
def test_a_variant_takes_the_same_weights(published, variant):
    """Breaks when removing a stride renames or reshapes a layer, so that published weights no longer fit."""
    assert layout(meta_network(published)) == layout(meta_network(variant))


@pytest.mark.parametrize(
    ("published", "variant", "block"),
    [
        ("resnet50", "resnet50_s16", "layer4.0"),
        ("resnet50", "resnet50_s8", "layer3.0"),
        ("mobilenet_v2", "mobilenet_v2_s8", "7"),
        ("mobilenet_v2", "mobilenet_v2_s8", "14"),
    ],
)
def test_a_block_without_its_stride_agrees_at_every_second_cell(published, variant, block):
    """Breaks when a removed stride changes anything but the resolution, padding and dilation above all."""
    ordinary = build(published, 2).features.get_submodule(block).eval()
    fine = build(variant, 2, seed=1).features.get_submodule(block).eval()
    fine.load_state_dict(ordinary.state_dict())
    channels = next(ordinary.parameters()).shape[1]
    maps = torch.randn(1, channels, 10, 10, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        one, other = ordinary(maps), fine(maps)
    assert (one.shape[2:], other.shape[2:]) == ((5, 5), (10, 10))
    torch.testing.assert_close(other[..., ::2, ::2], one)


def test_resnet_shortcuts_lose_their_stride_with_the_block():
    """Breaks when only one of the two paths of a block loses its stride, in the layers meant or in others."""
    strides: dict[str, list[tuple[Any, ...]]] = {
        name: [
            tuple(meta_network(name).get_submodule(f"features.{layer}.0.{path}").stride for path in PATHS)
            for layer in ("layer3", "layer4")
        ]
        for name in ("resnet50", "resnet50_s16", "resnet50_s8")
    }
    one, two = ((1, 1), (1, 1)), ((2, 2), (2, 2))
    assert strides == {"resnet50": [two, two], "resnet50_s16": [two, one], "resnet50_s8": [one, one]}


def test_spg_inception_keeps_the_published_names():
    """Breaks when the cut Inception no longer takes the published weights up to Mixed_6e."""
    whole, cut = layout(meta_network("inception_v3")), layout(meta_network("inception_v3_spg"))
    shared = {name: shape for name, shape in cut.items() if name.startswith("features.")}
    assert shared.items() <= whole.items()
    assert {name.split(".")[1] for name in whole.keys() - shared.keys() if name.startswith("features.")} == {
        "Mixed_7a", "Mixed_7b", "Mixed_7c"
    }  # fmt: skip


def test_inception_mixed_6a_at_stride_1_agrees_with_stride_2_at_every_second_cell():
    """Breaks when a branch of the rewritten block is left out, misordered or pads by another amount."""
    torch.manual_seed(0)
    block = torchvision.models.inception.InceptionB(288).eval()
    maps = torch.randn(1, 288, 9, 9)
    with torch.inference_mode():
        before = block(maps)
        after = _Mixed6aStride1(block)(maps)
    assert after.shape == (1, 768, 9, 9)
    torch.testing.assert_close(after[..., 1:-1:2, 1:-1:2], before)


def test_the_auxiliary_classifier_is_kept_but_not_trained():
    """Breaks when the auxiliary classifier goes missing from the counts, or enters the optimizer."""
    network = meta_network("inception_v3", 3)
    assert network.get_parameter("auxiliary.fc.weight").shape == (1000, 768)
    assert not any(parameter.requires_grad for parameter in network.get_submodule("auxiliary").parameters())
    names = {name.split(".")[0] for part in network.trained_parameters() for name, _ in part}
    assert names == {"features", "classifier"}


def test_inception_rescales_its_input():
    """Breaks when the published weights, trained on pixels in [-1, 1], see images normalised by ImageNet's mean."""
    rescale = _Rescale()
    pixels = torch.rand(2, 3, 4, 4)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = (pixels - mean[:, None, None]) / deviation[:, None, None]
    torch.testing.assert_close(rescale(normalised), 2 * pixels - 1, atol=1e-6, rtol=0)
    assert not rescale.state_dict()
