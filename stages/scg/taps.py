"""Which of a backbone's layers give the features for SCG."""

import torch

from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.backbones.registry import backbone
from stages.vision.features import read_taps

__all__ = ["shared_grid"]


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
