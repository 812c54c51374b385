"""Which of a backbone's layers give the features for SCG, and reading several of them in one pass."""

from collections.abc import Sequence
from contextlib import ExitStack

import torch

from stages.vision.backbones import LocalizerNetwork, backbone, tap_path, tapped

__all__ = ["read_taps", "shared_grid"]


def read_taps(network: LocalizerNetwork, taps: Sequence[str], images: torch.Tensor) -> list[torch.Tensor]:
    """What the named layers put out in one pass over the features, each ``(B, d, h, w)``.

    images: ``(B, 3, S, S)`` normalised. Raises: ValueError for a tap that the backbone does not have.
    """
    paths = [tap_path(network.backbone, tap) for tap in taps]
    with ExitStack() as stack:
        found = [stack.enter_context(tapped(network, path)) for path in paths]
        network.features(images)
        return [tap.output for tap in found]


def shared_grid(network: LocalizerNetwork, size: int) -> tuple[str, ...]:
    """The backbone's first two taps with grids of one size at this input size; its default tap where no two agree."""
    entry = backbone(network.backbone)
    names = list(entry.taps)
    device = network.classifier.weight.device
    with torch.inference_mode():
        outputs = read_taps(network, names, torch.zeros(1, 3, size, size, device=device))
    grids = [output.shape[2:] for output in outputs]
    for number, name in enumerate(names):
        partners = [other for other, grid in zip(names, grids, strict=True) if grid == grids[number]]
        if len(partners) > 1:
            return name, partners[1]
    return (entry.default_tap,)
