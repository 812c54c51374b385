import pytest
import torch

from stages.vision.backbones import BACKBONES, backbone, build, tap_path, tapped, weights_hash


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_is_a_localizer_network(name):
    """Rooms read features, feature_dim and classifier: one that pools or adds a layer in between breaks every map."""
    network = build(name, 7).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        features = network.features(images)
        logits = network(images)
    assert features.shape[:2] == (2, network.feature_dim)
    assert network.classifier.weight.shape == (7, network.feature_dim)
    torch.testing.assert_close(logits, network.classifier(features.mean(dim=(2, 3))))


@pytest.mark.parametrize("name", BACKBONES)
def test_every_tap_exists(name):
    """A renamed layer would only be noticed when somebody asks for it."""
    network = build(name, 2).eval()
    for tap in BACKBONES[name].taps:
        with torch.inference_mode(), tapped(network, tap_path(name, tap)) as found:
            network.features(torch.randn(1, 3, 64, 64))
        assert found.output.ndim == 4


@pytest.mark.parametrize(("name", "shape"), [("vgg16", (512, 14, 14)), ("vgg16_gap", (512, 7, 7))])
def test_vgg_geometry(name, shape):
    """DDT reads 14x14x512 after pool5 at 448, VGG-GAP 7x7x512 at 224: a dropped pool5 doubles both."""
    size = backbone(name).input_size
    with torch.device("meta"):
        network = BACKBONES[name].builder(2)
        assert network.features(torch.empty(1, 3, size, size)).shape[1:] == shape


def test_parameter_counts():
    """ResNet-50 without its head has 23.5 M parameters and VGG16's convolutions 14.7 M, as published."""
    counts = {name: sum(p.numel() for p in build(name, 1).features.parameters()) for name in ("resnet50", "vgg16_gap")}
    assert counts == {"resnet50": 23_508_032, "vgg16_gap": 14_714_688}


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
