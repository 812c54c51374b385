"""Parameter counts against PSOL, Table 2 (Zhang et al. 2020), in millions."""

import pytest

from tests.stages.vision.backbones.made import meta_network

HIDDEN, BOX = 512, 4


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def branch(width):
    """Linear(width, 512), ReLU, Linear(512, 4)."""
    return (width + 1) * HIDDEN + (HIDDEN + 1) * BOX


def joint(name):
    """The classifier with a box branch beside its last layer."""
    network = meta_network(name)
    return (count(network) + branch(network.classifier.in_features)) / 1e6


def separate(name):
    """A classifier, and a regressor: the same network with the branch in place of its last layer."""
    return joint(name) + (count(meta_network(name)) - count(meta_network(name).classifier)) / 1e6


def test_branches():
    """Breaks when the branch reads another vector than the classifier's."""
    assert (branch(4096), branch(2048)) == (2_099_716, 1_051_140)
    assert meta_network("vgg16").classifier.in_features == 4096


@pytest.mark.parametrize(
    ("name", "expected"),
    [("vgg16", 274.72), ("resnet50", 50.12), ("densenet161", 56.29), ("inception_v3", 53.32)],
)
def test_separate_networks(name, expected):
    """Breaks when a layer of a published network is missing or doubled; Inception counts its auxiliary classifier."""
    assert round(separate(name), 2) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("vgg16", 140.46), ("resnet50", 26.61), ("densenet161", 29.81), ("inception_v3", 28.21)],
)
def test_joint_networks(name, expected):
    """Breaks as above. Printed for Inception: 29.21, one million more than its own -Sep row allows."""
    assert round(joint(name), 2) == expected


def test_densenet_cam():
    """Breaks as above. Printed: 29.81, the number of the joint network; the classifier alone has 28.68 million."""
    assert round(count(meta_network("densenet161")) / 1e6, 2) == 28.68


def test_vgg_gap():
    """Breaks when VGG-GAP gains a convolution; the printed 14.82 million are those of 200 classes."""
    assert round(count(meta_network("vgg16_gap", 200)) / 1e6, 2) == 14.82


def test_published_counts():
    """Breaks when a body loses a layer: numbers as torchvision and timm publish them for 1000 classes."""
    found = {
        name: count(meta_network(name))
        for name in ("mobilenet_v2", "vgg16", "resnet50", "seresnet50", "inception_v3", "efficientnet_b7", "vit_s16")
    }
    assert found == {
        "mobilenet_v2": 3_504_872,
        "vgg16": 138_357_544,
        "resnet50": 25_557_032,
        "seresnet50": 28_088_024,
        "inception_v3": 27_161_264,
        "efficientnet_b7": 66_347_960,
        "vit_s16": 22_050_664,
    }
