"""Networks of libraries that not every installation has."""

from types import ModuleType
from typing import Any

from torch import nn

_GET_TIMM = "the package timm is not installed: pip install 'weakbox[timm]'"

__all__ = ["timm_input_size", "timm_network"]


def timm_network(name: str, **options: Any) -> nn.Module:
    """A network of timm with fresh weights.

    Raises: ModuleNotFoundError that says how to get timm; ValueError for a name that timm does not know.
    """
    timm = _timm(name)
    network: nn.Module = timm.create_model(name, pretrained=False, **options)
    return network


def timm_input_size(name: str) -> int:
    """Side of the input, pixels, that timm gives a network. Raises as `timm_network` does."""
    timm = _timm(name)
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return 224 if config is None else int(config.input_size[-1])


def _timm(name: str) -> ModuleType:
    """The package, which must know the network."""
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"network {name}: {_GET_TIMM}") from error
    if not timm.is_model(name.split(".")[0]):
        raise ValueError(f"timm knows no network {name!r}")
    return timm
