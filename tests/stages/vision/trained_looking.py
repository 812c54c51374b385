"""Networks whose batch normalisations look trained, without a training."""

from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def with_statistics(network: Network, seed: int = 0) -> Network:
    """Batch normalisations as after a training: every one of their numbers its own."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d) and module.track_running_stats:
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.2, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                if module.affine:
                    module.weight.uniform_(0.5, 1.5, generator=generator)
                    module.bias.normal_(0, 0.2, generator=generator)
    return network.eval()


def normalisations(network: nn.Module) -> list[str]:
    return [path for path, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]


def random_images(side: int) -> torch.Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
