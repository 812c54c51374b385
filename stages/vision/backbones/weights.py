"""Fills a network with weights, hashes them, and reports layers that were left fresh or unused."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from stages.vision.backbones.efficientnet_names import MARK, efficientnet_names
from stages.vision.backbones.head_rows import rows_of_classes
from stages.vision.backbones.layouts import Layout
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.backbones.sources import WeightsError, read_state
from stages.vision.backbones.weight_names import SCRATCH

__all__ = ["Fitting", "Loaded", "fit", "load_state", "load_weights", "weights_hash"]

_CLASSIFIER, _HEAD, _SPARE = "classifier.", "head.", "auxiliary."
_FRESH = "load them with a fresh head (keep_head: false)"
_COUNTER = ".num_batches_tracked"
"""Missing from files older than the counter; nothing here reads it."""

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Loaded:
    """The result of filling a network.

    hash: `weights_hash` of the network. fresh: its layers that keep their seeded weights. unused: layers of the
    source, by the source's names, that the network does not use.
    """

    hash: str
    fresh: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


class Fitting(NamedTuple):
    """How a state dict fits a network. kept: its tensors by the network's names. fresh, unused: as in `Loaded`."""

    kept: State
    fresh: tuple[str, ...]
    unused: tuple[str, ...]


def load_weights(network: nn.Module, source: str, keep_head: bool = True, classes: Sequence[str] = ()) -> Loaded:
    """Fill a network that `build` made with weights of a source.

    source: ``scratch`` keeps the seeded initial weights; ``timm:<model name>``; ``package:<name>``; a .safetensors,
    .pth or .pt file, on this disk or at a URI (see `read_state`); anything else is a torchvision weights name such as
    ``VGG16_Weights.IMAGENET1K_V1``. The layouts of torchvision and timm are understood in files too.
    keep_head, classes: see `load_state`.

    Raises: WeightsError when the source is missing, cannot be fetched, or does not fit.
    """
    if source == SCRATCH:
        return Loaded(weights_hash(network))
    return load_state(network, read_state(source), source, keep_head, classes)


def load_state(
    network: nn.Module, state: State, source: str, keep_head: bool = True, classes: Sequence[str] = ()
) -> Loaded:
    """Fill a network that `build` made with a state dict in its own or a published layout.

    source: name of the state in messages. keep_head: False leaves the seeded classifier in place, for classes other
    than the source's, or for weights that have no such classifier (VGG's under GAP), and with it convolutions of the
    head that the source lacks or has in another size. True requires them.
    classes: names of the network's classes; if the head of ImageNet's 1,000 classes is kept, their rows are selected by
    wnid. Empty: the source has the same classes in the same order.

    Raises: WeightsError when a layer below the head is missing or of another size, when the source holds layers that
    belong to no head, and when keep_head is asked for and impossible.
    """
    fitting = fit(network, state, source, keep_head, classes)
    network.load_state_dict({**network.state_dict(), **fitting.kept})
    return Loaded(weights_hash(network), fitting.fresh, fitting.unused)


def fit(network: nn.Module, state: State, source: str, keep_head: bool = True, classes: Sequence[str] = ()) -> Fitting:
    """How a state dict fits a network, by names and shapes alone: both may lie on torch's meta device.

    Raises: WeightsError as `load_state`.
    """
    own = network.state_dict()
    layout = network.layout if isinstance(network, LocalizerNetwork) else Layout()
    others = efficientnet_names(own) if MARK in state else {}
    names = {name: others.get(name) or layout.own_name(name, own) for name in state}
    found = _found(state, names, own, source)
    if keep_head and classes:
        found = dict(rows_of_classes(found, classes, source))
    left = {name for name in found if not _wanted(name, found[name].shape == own[name].shape, keep_head)}
    kept = {name: tensor for name, tensor in found.items() if name not in left}
    missing = [name for name in own if name not in kept and not name.endswith(_COUNTER)]
    unexpected = [name for name, target in names.items() if target is None and not layout.may_be_unused(name)]
    _refuse_body(missing, unexpected, source)
    if keep_head:
        _refuse_head(missing, kept, own, source)
        surplus = [name for name, target in names.items() if target is None and name.startswith(_HEAD)]
        if surplus:
            raise WeightsError(f"weights {source} have {surplus[0]}, which this network's head lacks: {_FRESH}")
    for name, tensor in kept.items():
        if tensor.shape != own[name].shape:
            raise WeightsError(f"weights {source} do not fit: {_shapes(name, tensor, own[name])}")
    unused = (name for name, target in names.items() if target is None or target in left)
    return Fitting(kept, _layers(missing), _layers(unused))


def weights_hash(network: nn.Module) -> str:
    """SHA-256 over names, types, shapes and bytes of all parameters and buffers; the same on every device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name}:{values.dtype}:{tuple(values.shape)};".encode())
        digest.update(values.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _found(state: State, names: Mapping[str, str | None], own: State, source: str) -> dict[str, torch.Tensor]:
    """The tensors that the network has, by its names; convolutions are flattened where it has linear layers."""
    found: dict[str, torch.Tensor] = {}
    for name, target in names.items():
        if target is None:
            continue
        if target in found:
            raise WeightsError(f"weights {source} do not fit: they hold {target} twice, once as {name}")
        tensor = state[name]
        found[target] = tensor.flatten(1) if tensor.ndim == 4 and own[target].ndim == 2 else tensor
    return found


def _wanted(name: str, fits: bool, keep_head: bool) -> bool:
    """Whether a tensor of the source is loaded: of the head as keep_head says, of an auxiliary layer if it fits."""
    if name.startswith(_CLASSIFIER):
        return keep_head
    if name.startswith(_HEAD):
        return keep_head or fits
    return fits or not name.startswith(_SPARE)


def _refuse_body(missing: Iterable[str], unexpected: Iterable[str], source: str) -> None:
    absent = sorted(name for name in missing if not name.startswith((_CLASSIFIER, _HEAD, _SPARE)))
    foreign = sorted(unexpected)
    if absent or foreign:
        raise WeightsError(f"weights {source} do not fit: missing {absent[:3]}, unexpected {foreign[:3]}")


def _refuse_head(missing: Iterable[str], kept: State, own: State, source: str) -> None:
    """Refuse to keep a head that the source lacks or has in another size."""
    for name in missing:
        if name.startswith((_CLASSIFIER, _HEAD)):
            raise WeightsError(f"weights {source} have no {name} that fits this network: {_FRESH}")
    for name, tensor in kept.items():
        if name.startswith((_CLASSIFIER, _HEAD)) and tensor.shape != own[name].shape:
            raise WeightsError(
                f"weights {source} have a head of another size, {_shapes(name, tensor, own[name])}: {_FRESH}"
            )


def _shapes(name: str, theirs: torch.Tensor, ours: torch.Tensor) -> str:
    return f"{name} is {tuple(theirs.shape)}, the network has {tuple(ours.shape)}"


def _layers(names: Iterable[str]) -> tuple[str, ...]:
    """Layer names of tensors: two parts of a name below `features` and `classifier`, elsewhere the first one."""
    layers: dict[str, None] = {}
    for name in names:
        *parts, last = name.split(".")
        depth = 2 if name.startswith(("features.", _CLASSIFIER)) else 1
        layers[".".join(parts[:depth]) or last] = None
    return tuple(layers)
