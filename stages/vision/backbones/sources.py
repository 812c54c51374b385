"""Reads weights from a file, torchvision, timm or a Python package as a state dict."""

import argparse
import difflib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any
from urllib.error import URLError

import torch
from safetensors.torch import load

from stages.vision.backbones.packages import packaged_bytes
from stages.vision.backbones.weight_names import PACKAGE, SAFETENSORS, SCRATCH, TIMM, is_file

__all__ = [
    "WeightsError",
    "packaged_state",
    "place_on_hub",
    "read_state",
    "state_of",
    "torchvision_weights",
    "unpickled",
    "without_prefixes",
]

_DEEPEST = 8
_NESTS = ("state_dict", "model", "teacher")
_PREFIXES = ("module.", "backbone.", "model.")


class WeightsError(ValueError):
    """The weights cannot be loaded, or do not fit the network; the message says what to do."""


def read_state(source: str) -> dict[str, torch.Tensor]:
    """The state dict of a source: ``timm:<model name>``, ``package:<name>``, a torchvision weights name, or a file.

    A file ends in .safetensors, .pth, .pt, .pth.tar or .bin and lies on this disk or at any URI that fsspec knows;
    only tensors, plain values and `argparse.Namespace` are unpickled. A state dict nested under ``state_dict``,
    ``model`` or ``teacher`` is unwrapped, and the prefixes ``module.``, ``backbone.`` and ``model.`` of its names are
    removed.

    Raises: WeightsError when the source is missing, cannot be fetched, or holds no state dict.
    """
    if source.startswith(TIMM):
        return without_prefixes(_from_timm(source), source)
    if source.startswith(PACKAGE):
        return packaged_state(source)
    return without_prefixes(_from_file(source) if is_file(source) else _from_torchvision(source), source)


def packaged_state(source: str, device: str = "cpu") -> dict[str, torch.Tensor]:
    """The state dict that a Python package carries (`packages`), its tensors on a device. Raises WeightsError."""
    try:
        data = packaged_bytes(source)
    except ValueError as error:
        raise WeightsError(str(error)) from error
    return state_of(unpickled(io.BytesIO(data), device), source)


def _from_file(source: str) -> dict[str, torch.Tensor]:
    try:
        data = _bytes(source)
        found = load(data) if source.endswith(SAFETENSORS) else unpickled(io.BytesIO(data))
    except FileNotFoundError as error:
        raise WeightsError(f"weights file {source} does not exist") from error
    except Exception as error:  # file systems and torch raise many types
        raise WeightsError(f"weights file {source} cannot be read: {error}") from error
    return state_of(found, source)


def state_of(found: Any, source: str) -> dict[str, torch.Tensor]:
    """The state dict in the content of a file, unwrapped if it is nested. Raises WeightsError for anything else."""
    for _ in range(_DEEPEST):
        if not isinstance(found, Mapping) or not (nest := _nest(found)):
            break
        found = found[nest]
    if not isinstance(found, Mapping) or not found or not all(isinstance(v, torch.Tensor) for v in found.values()):
        raise WeightsError(f"weights file {source} is no state dict (names to tensors)")
    for name, tensor in found.items():
        if not isinstance(name, str):
            raise WeightsError(f"weights file {source} is no state dict: {str(name)[:40]!r} is no name of a layer")
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.dtype == torch.bool:
            kind = f"{tensor.layout}, {tensor.dtype}".replace("torch.", "")
            raise WeightsError(f"weights file {source}: {name[:80]} is no plain tensor of numbers ({kind})")
    return dict(found)


def _bytes(source: str) -> bytes:
    if "://" not in source:
        return Path(source).expanduser().read_bytes()
    import fsspec  # only URIs need it

    with fsspec.open(source, "rb") as file:
        return bytes(file.read())


def unpickled(file: IO[bytes] | str, device: str = "cpu", mmap: bool = False) -> Any:
    """Load a file of `torch.save`; only tensors, plain values and `argparse.Namespace` are unpickled.

    device: of the tensors. mmap: for paths only: tensors are read when they are used.
    """
    with torch.serialization.safe_globals([argparse.Namespace]):  # DINO's checkpoints hold their command's arguments
        return torch.load(file, map_location=device, weights_only=True, mmap=mmap)


def _nest(found: Mapping[str, Any]) -> str | None:
    return next((name for name in _NESTS if isinstance(found.get(name), Mapping)), None)


def without_prefixes(state: Mapping[str, torch.Tensor], source: str) -> dict[str, torch.Tensor]:
    """A state dict without the prefixes that training scripts add. Raises WeightsError for two tensors of one name."""
    plain: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        short = name
        while prefix := next((one for one in _PREFIXES if short.startswith(one)), None):
            short = short.removeprefix(prefix)
        if short in plain:
            raise WeightsError(f"weights {source} hold {short} twice, under different prefixes")
        plain[short] = tensor
    return plain


def _from_torchvision(name: str) -> dict[str, torch.Tensor]:
    """Published weights from torchvision's cache or from the network."""
    weights = torchvision_weights(name)
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True))
    except (URLError, OSError, RuntimeError) as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise WeightsError(
            f"weights {name} cannot be fetched ({error}); put {Path(weights.url).name} into {folder}, "
            f"or give its path as the weights. It is published at {weights.url}"
        ) from error


def torchvision_weights(name: str) -> Any:
    """The torchvision entry of published weights, not fetched. Raises WeightsError with the nearest known name."""
    import torchvision  # slow to import, see networks.py

    try:
        return torchvision.models.get_weight(name)
    except (ValueError, KeyError, AttributeError) as error:
        raise WeightsError(_unknown_weights(name)) from error


def _unknown_weights(name: str) -> str:
    import torchvision  # slow to import, see networks.py

    known = [
        str(weights)
        for model in torchvision.models.list_models(module=torchvision.models)
        for weights in torchvision.models.get_model_weights(model)
    ]
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
    return (
        f"unknown weights {name!r}: neither {SCRATCH!r}, timm:<model name> nor package:<name>, nor a .safetensors, "
        f".pth or .pt file, and the nearest torchvision name is {nearest}"
    )


def _from_timm(source: str) -> dict[str, torch.Tensor]:
    """Published weights from the hub's cache or from the network."""
    repository, file = place_on_hub(source)
    try:
        import huggingface_hub  # timm brings it along

        path = huggingface_hub.hf_hub_download(repository, file)
    except Exception as error:  # the hub's client and its transport raise many types
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(
            f"weights {source} cannot be fetched ({reason}); fetch {file} of the hub's repository {repository}, "
            "and give its path as the weights"
        ) from error
    return _from_file(path)


def place_on_hub(source: str) -> tuple[str, str]:
    """Repository and file of a timm name.

    Raises: WeightsError without timm, and for a name that timm does not know, with the nearest.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise WeightsError(f"weights {source} need the package timm: pip install 'weakbox[timm]'") from error

    name = source.removeprefix(TIMM)
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:  # an unknown tag of a known network
        config = None
    if config is None or not config.hf_hub_id:
        nearest = difflib.get_close_matches(name, timm.list_pretrained(), n=1, cutoff=0.0)[0]
        raise WeightsError(f"unknown weights {source!r}: the nearest name that timm publishes is timm:{nearest}")
    return config.hf_hub_id, config.hf_hub_filename or "model.safetensors"
