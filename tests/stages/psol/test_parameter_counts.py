"""The networks that are trained against PSOL, Table 2 (Zhang et al. 2020), in millions of parameters."""

import pytest
import torch

from stages.psol.regressor import BoxRegressor
from stages.vision.backbones.build import build
from stages.vision.backbones.registry import input_size
from tests.stages.vision.backbones.made import meta_images, meta_network

ALL = ("vgg16", "vgg16_gap", "vgg16_acol", "resnet50", "densenet161", "inception_v3", "vit_s16")


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def regressor(name, joint, classes=1000, pooling=1):
    """A regressor without values; it takes its network over, so that is built anew."""
    with torch.device("meta"):
        return BoxRegressor(build(name, classes), pooling, joint).eval()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("vgg16", 274.72), ("resnet50", 50.12), ("densenet161", 56.29), ("inception_v3", 53.32)],
)
def test_sep(name, expected):
    """Breaks when the regressor keeps the classifier's layer, or its branch reads other numbers than that did."""
    assert round((count(meta_network(name)) + count(regressor(name, joint=False))) / 1e6, 2) == expected


@pytest.mark.parametrize(
    ("name", "classes", "expected"),
    [
        ("vgg16", 1000, 140.46),
        ("vgg16_gap", 200, 15.08),
        ("resnet50", 1000, 26.61),
        ("densenet161", 1000, 29.81),
        ("inception_v3", 1000, 28.21),
    ],
)
def test_joint(name, classes, expected):
    """Breaks as above. Printed for Inception: 29.21, one million more than its own -Sep row allows."""
    assert round(count(regressor(name, joint=True, classes=classes)) / 1e6, 2) == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("vgg16", 2_099_716), ("resnet50", 1_051_140), ("inception_v3", 1_051_140)]
)
def test_branch(name, expected):
    """Breaks when a hidden layer is added, or VGG16's branch reads its convolutions."""
    assert count(regressor(name, joint=False).branch) == expected


@pytest.mark.parametrize("name", ALL)
def test_every_kind_of_network_gives_boxes_and_classes(name):
    """Breaks when the branch does not fit what a network's classifier reads: fc7, a convolutional head, a token."""
    boxes, logits = regressor(name, joint=True)(meta_images(input_size(name)))
    assert boxes.shape == (2, 4)
    assert logits.shape == (2, 1000)


@pytest.mark.parametrize("name", ["vgg16", "vit_s16"])
def test_no_grid_before_other_layers(name):
    """Breaks when a grid is read past the fully connected layers, which would then never be trained."""
    message = f"the classes of {name} do not come from averaged features: pooling must be 1, not 4"
    with pytest.raises(ValueError, match=message):
        regressor(name, joint=False, pooling=4)
