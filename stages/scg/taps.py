"""Which of a backbone's layers give the features for SCG."""

from collections.abc import Sequence

import torch

from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.features import read_taps

__all__ = ["check_grids", "shared_grid"]


def shared_grid(network: LocalizerNetwork, size: int) -> tuple[str, ...]:
    """The layers that SPA reads of the backbone, where their grids agree at this input size.

    Else its first two taps with grids of one size, and its default tap where no two agree.
    """
    chosen = network.tap_names.scg
    if chosen and len(set(_grids(network, chosen, size))) == 1:
        return chosen
    names = list(network.tap_names.main)
    grids = _grids(network, names, size)
    for number, name in enumerate(names):
        partners = [other for other, grid in zip(names, grids, strict=True) if grid == grids[number]]
        if len(partners) > 1:
            return name, partners[1]
    return (network.tap_names.default,)


def check_grids(network: LocalizerNetwork, taps: Sequence[str], size: int) -> None:
    """Refuse taps that the network does not have, or whose grids differ at this input size. Raises ValueError."""
    if taps:
        grids = dict(zip(taps, _grids(network, taps, size), strict=True))
        if len(set(grids.values())) > 1:
            said = ", ".join(f"{tap} {height} x {width}" for tap, (height, width) in grids.items())
            raise ValueError(f"taps must have grids of one size, not {said}")


def _grids(network: LocalizerNetwork, taps: Sequence[str], size: int) -> list[tuple[int, int]]:
    device = network.classifier.weight.device
    with torch.inference_mode():
        outputs = read_taps(network, taps, torch.zeros(1, 3, size, size, device=device))
    return [(output.shape[2], output.shape[3]) for output in outputs]
