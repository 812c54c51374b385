"""Networks of libraries that not every installation has."""

from typing import Any

from torch import nn

__all__ = ["timm_network"]


def timm_network(name: str, **options: Any) -> nn.Module:
    """A network of timm with fresh weights. Raises ModuleNotFoundError that says how to get timm."""
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"network {name} needs the package timm: pip install 'weakbox[timm]'") from error
    network: nn.Module = timm.create_model(name, pretrained=False, **options)
    return network
