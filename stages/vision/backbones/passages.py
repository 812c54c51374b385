"""Exposes layer outputs that are no maps (such as tokens) as maps, for hooks that read or replace them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["Passage", "passing"]

Turned = Callable[[torch.Tensor], torch.Tensor]


class Passage(nn.Module):
    """Identity module for a layer's output as a map ``(B, d, h, w)``; hooks on it read or replace the map."""

    @property
    def observed(self) -> bool:
        """Whether the module has a hook; without one nothing is passed through it."""
        return bool(self._forward_hooks or self._forward_pre_hooks)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """The same maps."""
        return maps


@contextmanager
def passing(layer: nn.Module, passage: Passage, to_map: Turned, back: Callable[..., torch.Tensor]) -> Iterator[None]:
    """During the block, pass a layer's output through a passage as a map, if the passage has a hook.

    to_map: output -> map. back: (map, output) -> output with the map's values, with which the forward pass continues.
    """
    if not passage.observed:
        yield
        return
    handle = layer.register_forward_hook(lambda _module, _inputs, output: back(passage(to_map(output)), output))
    try:
        yield
    finally:
        handle.remove()
