"""Reading layers of a network in one pass over its features."""

from collections.abc import Sequence
from contextlib import ExitStack

import torch

from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.backbones.taps import tapped

__all__ = ["read_taps"]


def read_taps(network: LocalizerNetwork, taps: Sequence[str], images: torch.Tensor) -> list[torch.Tensor]:
    """Outputs of the named layers in one forward pass of the features, each ``(B, d, h, w)``.

    images: ``(B, 3, S, S)`` normalised. Raises: ValueError for a tap that the network does not have.
    """
    paths = [network.tap_path(tap) for tap in taps]
    with ExitStack() as stack:
        found = [stack.enter_context(tapped(network, path)) for path in paths]
        network.features(images)
        return [tap.output for tap in found]
