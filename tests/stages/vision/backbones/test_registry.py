import subprocess
import sys

import pytest
import torch

from stages.vision.backbones.build import build
from stages.vision.backbones.registry import BACKBONES, backbone, input_size, tap_path
from stages.vision.backbones.weights import weights_hash
from tests.stages.vision.backbones.made import feature_shape, meta_images, meta_network

SHAPES = {
    "smallnet": (64, 8, 8),
    "smallnet_wide": (192, 8, 8),
    "mobilenet_v2": (1280, 7, 7),
    "mobilenet_v2_s8": (1280, 28, 28),
    "vgg16": (512, 7, 7),
    "vgg16_gap": (512, 7, 7),
    "vgg16_cam": (512, 14, 14),
    "vgg16_acol": (512, 14, 14),
    "vgg16_acol28": (512, 28, 28),
    "resnet50": (2048, 7, 7),
    "resnet50_s16": (2048, 14, 14),
    "resnet50_s8": (2048, 28, 28),
    "resnet50_acol28": (2048, 28, 28),
    "seresnet50": (2048, 7, 7),
    "inception_v3": (2048, 8, 8),
    "inception_v3_spg": (768, 28, 28),
    "densenet161": (2208, 7, 7),
    "efficientnet_b7": (2560, 19, 19),
    "efficientnet_lite0": (1280, 7, 7),
    "vit_s16": (384, 14, 14),
    "vit_s16_gap": (384, 14, 14),
    "vit_tiny_p8": (96, 8, 8),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_feature_maps_have_the_published_shape(name):
    """Breaks when a pooling or stride is dropped or added, or when features and feature_dim disagree."""
    network, size = meta_network(name), input_size(name)
    assert feature_shape(name) == SHAPES[name]
    assert network.feature_dim == SHAPES[name][0]
    assert network(meta_images(size)).shape == (2, 1000)


@pytest.mark.parametrize("name", [name for name in BACKBONES if meta_network(name).has_cam])
def test_maps_of_a_class_fit_the_classifier(name):
    """Breaks when what GAP pools is not what the classifier's weights belong to, or the head changes the grid."""
    network, side = meta_network(name), input_size(name)
    maps = network.class_features(meta_images(side))
    assert maps.shape == (2, network.classifier.in_features, *SHAPES[name][1:])
    assert network.classifier.weight.shape == (1000, maps.shape[1])


@pytest.mark.parametrize(
    ("name", "side", "grid"),
    [
        ("vgg16", 448, 14),
        ("inception_v3_spg", 320, 40),
        ("vgg16_acol28", 320, 40),
        ("vit_s16", 448, 28),
        ("vit_tiny_p8", 96, 12),
    ],
)
def test_other_input_sizes(name, side, grid):
    """Breaks when a network is tied to its own size: DDT reads VGG16 at 448, I2C and SPG work at 320."""
    assert feature_shape(name, side)[1:] == (grid, grid)
    assert meta_network(name)(meta_images(side)).shape == (2, 1000)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_tap_is_a_map(name):
    """Breaks when a layer is renamed, which would only be noticed when somebody asks for it."""
    entry = backbone(name)
    shapes = {tap: feature_shape(name, None, tap) for tap in entry.tap_names.paths}
    assert all(len(shape) == 3 for shape in shapes.values())
    assert shapes[entry.tap_names.default] == SHAPES[name]


@pytest.mark.parametrize(
    ("name", "tap", "shape"),
    [
        ("vgg16", "relu5_3", (512, 14, 14)),
        ("vgg16_acol", "pool4", (512, 14, 14)),
        ("resnet50_s8", "layer2", (512, 28, 28)),
        ("inception_v3_spg", "mixed_5d", (288, 28, 28)),
        ("inception_v3", "mixed_6e", (768, 17, 17)),
        ("densenet161", "transition3", (1056, 7, 7)),
    ],
)
def test_taps_of_the_literature(name, tap, shape):
    """Breaks when a name of the literature leads to another layer (SPA's feat4 is pool4, or Mixed_5d)."""
    assert feature_shape(name, None, tap) == shape


def test_vgg_taps_follow_an_activation():
    """Breaks when relu5_3 and its like name a convolution, whose negative outputs change every descriptor."""
    network = meta_network("vgg16")
    layers = {tap: type(network.get_submodule(path)).__name__ for tap, path in backbone("vgg16").taps.items()}
    assert layers == {
        "pool5": "MaxPool2d", "relu5_3": "ReLU", "relu5_2": "ReLU", "relu4_3": "ReLU", "pool4": "MaxPool2d"
    }  # fmt: skip


def test_build_is_seeded():
    """Initial weights that depend on what ran before cannot be reproduced; a disturbed generator harms the caller."""
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first = weights_hash(build("mobilenet_v2", 3))
    assert torch.equal(torch.rand(1), expected)
    assert weights_hash(build("mobilenet_v2", 3)) == first
    assert weights_hash(build("mobilenet_v2", 3, seed=1)) != first


def test_unknown_names():
    """The message must name the nearest known one."""
    with pytest.raises(ValueError, match="'resnet50'"):
        build("resnet5O", 2)
    with pytest.raises(ValueError, match="'relu5_3'"):
        tap_path("vgg16", "relu53")
    assert tap_path("vgg16") == "features.30"
    with pytest.raises(ValueError, match="unknown tap of vit_s16 'key': did you mean 'keys'"):
        tap_path("vit_s16", "key")


def test_the_table_imports_no_library_of_networks():
    """Breaks when planning a run, which reads the table, takes seconds to import torchvision or timm."""
    program = (
        "import sys, stages.vision.backbones.registry as b; assert len(b.BACKBONES) > 10; "
        "print(*({'torch', 'torchvision', 'timm', 'huggingface_hub'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=250)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_a_network_of_an_absent_library_says_how_to_get_it(monkeypatch):
    """Breaks when a machine without timm gets a bare import error in the middle of a run."""
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'weakbox\[timm\]'"):
        build("vit_s16", 2)
