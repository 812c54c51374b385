"""Memory layout of networks."""

from typing import TypeVar

import torch
from torch import nn

__all__ = ["Network", "channels_last"]

Network = TypeVar("Network", bound=nn.Module)


def channels_last(network: Network, device: torch.device | str) -> Network:
    """Move a network to a device, its convolutions' weights in channels_last order, which is faster for them."""
    return network.to(device)._apply(_in_order)


def _in_order(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
