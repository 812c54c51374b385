import pytest
import torch

from stages.vision.backbones.build import build
from stages.vision.backbones.registry import BACKBONES
from stages.vision.features import read_taps
from stages.vision.inference_network import for_inference
from tests.stages.vision.trained_looking import normalisations, random_images, with_statistics

SIDES = {"inception_v3": 96}
"""Smaller images than others take."""
OF_TIMM = ("timm:regnety_002", "timm:hrnet_w18_small", "timm:mobilenetv4_conv_small", "timm:repvgg_a0", "timm:dpn68")
STAY = {"inception_v3": 2, "densenet161": 82, "timm:repvgg_a0": 17, "timm:dpn68": 27}
"""Batch normalisations that read no convolution, or more than one, or that no forward pass goes through."""


@pytest.fixture(autouse=True)
def one_thread():
    """Thousands of small operations are slower on threads that others use too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", [*BACKBONES, *OF_TIMM])
def test_every_tap_and_the_logits_of_the_table_stay(name):
    """Breaks when a wrong pair is folded, a scale or a shift is lost, a tap is moved, or next to nothing is folded."""
    network = with_statistics(build(name, 3))
    side = SIDES.get(name, 64)
    images, taps = random_images(side), list(network.tap_names.paths)
    with torch.inference_mode():
        before = [*read_taps(network, taps, images), network(images)]
        network = for_inference(network, side, network.tap_names.paths.values())
        after = [*read_taps(network, taps, images), network(images)]
    assert len(normalisations(network)) == STAY.get(name, 0)
    for one, other in zip(before, after, strict=True):
        assert (one - other).abs().max() < 1e-4 * (one.max() - one.min())
