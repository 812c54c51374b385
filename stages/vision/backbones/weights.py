"""Weights of a network: where they come from, and the hash that names them."""

import difflib
import hashlib
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError

import torch
from torch import nn

__all__ = ["WeightsError", "load_weights", "weights_hash"]

SCRATCH = "scratch"
_HEAD = "classifier."
_RESNET_STEMS = ("conv1.", "bn1.", "layer1.", "layer2.", "layer3.", "layer4.")


class WeightsError(ValueError):
    """The weights cannot be had, or do not fit the network; the message says what to do."""


def load_weights(network: nn.Module, source: str, keep_head: bool = True) -> str:
    """Fill a network that `build` made with weights, and name them.

    source: ``scratch`` keeps the seeded initial weights; a path ending in .safetensors, .pth or .pt is read from disk
    (tensors only, nothing is unpickled); anything else is a torchvision weights name such as
    ``VGG16_Weights.IMAGENET1K_V1``. torchvision's own layout of the known networks is understood in files too.
    keep_head: False leaves the seeded classifier in place, for classes other than the source's, or for weights that
    have no GAP head (torchvision's VGG16).

    Returns: `weights_hash` of the network afterwards.
    Raises: WeightsError when the source is missing, cannot be fetched, or does not fit.
    """
    if source != SCRATCH:
        state = _renamed(_read(source))
        _fill(network, state, source, keep_head)
    return weights_hash(network)


def weights_hash(network: nn.Module) -> str:
    """SHA-256 over names, types, shapes and bytes of all parameters and buffers; the same on every device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name}:{values.dtype}:{tuple(values.shape)};".encode())
        digest.update(values.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _read(source: str) -> dict[str, torch.Tensor]:
    """Read a state dict from a file or through torchvision."""
    path = Path(source)
    if path.suffix not in (".safetensors", ".pth", ".pt"):
        return _fetch(source)
    if not path.is_file():
        raise WeightsError(f"weights file {source} does not exist")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file  # only this format needs the package

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # both libraries raise many types for a damaged file
        raise WeightsError(f"weights file {source} cannot be read: {error}") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"weights file {source} is no state dict (names to tensors)")
    return dict(state)


def _fetch(name: str) -> dict[str, torch.Tensor]:
    """Get published weights from torchvision's cache or from the network."""
    import torchvision  # slow to import, see networks.py

    try:
        weights = torchvision.models.get_weight(name)
    except (ValueError, KeyError, AttributeError) as error:
        raise WeightsError(_unknown_weights(name)) from error
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True))
    except (URLError, OSError, RuntimeError) as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise WeightsError(
            f"weights {name} cannot be fetched ({error}); put {Path(weights.url).name} into {folder}, "
            f"or give its path as the weights. It is published at {weights.url}"
        ) from error


def _unknown_weights(name: str) -> str:
    import torchvision  # slow to import, see networks.py

    known = [
        str(weights)
        for model in torchvision.models.list_models(module=torchvision.models)
        for weights in torchvision.models.get_model_weights(model)
    ]
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
    return (
        f"unknown weights {name!r}: neither {SCRATCH!r} nor a .safetensors, .pth or .pt file, "
        f"and the nearest torchvision name is {nearest}"
    )


def _renamed(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Translate torchvision's names: ResNet's stem and layers, its ``fc``, the one linear layer of MobileNet's head.

    VGG's three-layer head has no counterpart and is dropped.
    """
    heads = {key.rsplit(".", 1)[0] for key in state if key.startswith(_HEAD)}
    renamed = {}
    for key, tensor in state.items():
        prefix, _, kind = key.rpartition(".")
        if key.startswith(_RESNET_STEMS):
            renamed[f"features.{key}"] = tensor
        elif prefix == "fc" or heads == {prefix}:
            renamed[_HEAD + kind] = tensor
        elif prefix not in heads:
            renamed[key] = tensor
    return renamed


def _fill(network: nn.Module, state: dict[str, torch.Tensor], source: str, keep_head: bool) -> None:
    """Load strictly; only the head may stay as it is, and only when that was asked for."""
    own = network.state_dict()
    if not keep_head:
        state = {key: tensor for key, tensor in state.items() if not key.startswith(_HEAD)}
        state |= {key: tensor for key, tensor in own.items() if key.startswith(_HEAD)}
    missing = sorted(own.keys() - state.keys())
    if missing and all(key.startswith(_HEAD) for key in missing):
        raise WeightsError(f"weights {source} have no linear head after GAP: load them with a fresh head")
    unexpected = sorted(state.keys() - own.keys())
    if missing or unexpected:
        raise WeightsError(f"weights {source} do not fit: missing {missing[:3]}, unexpected {unexpected[:3]}")
    for key, tensor in state.items():
        if tensor.shape != own[key].shape:
            raise WeightsError(
                f"weights {source} do not fit: {key} is {tuple(tensor.shape)}, the network has {tuple(own[key].shape)}"
            )
    network.load_state_dict(state)
