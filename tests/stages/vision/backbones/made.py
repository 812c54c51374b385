"""Networks of the table without values, so that tests of shapes and names take no time."""

from functools import cache

import torch

from stages.vision.backbones.build import build
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.backbones.registry import input_size, tap_path
from stages.vision.backbones.taps import tapped


@cache
def meta_network(name: str, num_classes: int = 1000) -> LocalizerNetwork:
    """A network in eval mode on device meta."""
    with torch.device("meta"):
        return build(name, num_classes).eval()


def meta_images(side: int) -> torch.Tensor:
    """Two images on device meta."""
    return torch.empty(2, 3, side, side, device="meta")


@cache
def feature_shape(name: str, side: int | None = None, tap: str | None = None) -> tuple[int, ...]:
    """Channels, height and width of a network's features, or of a tap, at a size (None: the entry's own)."""
    network, images = meta_network(name), meta_images(side or input_size(name))
    with torch.inference_mode(), torch.device("meta"):
        if tap is None:
            return tuple(network.features(images).shape[1:])
        with tapped(network, tap_path(name, tap)) as found:
            network.features(images)
        return tuple(found.output.shape[1:])
