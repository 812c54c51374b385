"""Layers whose outputs are no maps, shown as maps to whoever reads or replaces them there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["Passage", "passing"]

Turned = Callable[[torch.Tensor], torch.Tensor]


class Passage(nn.Module):
    """What a layer puts out, on its way as a map ``(B, d, h, w)``; hooks on this module see it, and may replace it."""

    @property
    def observed(self) -> bool:
        """Whether anybody looks: otherwise nothing need pass."""
        return bool(self._forward_hooks or self._forward_pre_hooks)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """The same maps."""
        return maps


@contextmanager
def passing(layer: nn.Module, passage: Passage, to_map: Turned, back: Callable[..., torch.Tensor]) -> Iterator[None]:
    """Lead a layer's output through a passage, as a map, in forward passes in the block, where anybody looks there.

    to_map: output -> map. back: (map, output) -> an output with the map's values, which the network goes on with.
    """
    if not passage.observed:
        yield
        return
    handle = layer.register_forward_hook(lambda _module, _inputs, output: back(passage(to_map(output)), output))
    try:
        yield
    finally:
        handle.remove()
