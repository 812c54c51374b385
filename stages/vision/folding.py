"""Batch normalisation folded into the convolution whose output it reads, for networks that only predict.

In eval mode a batch normalisation multiplies each channel by a number and adds another one. A convolution with other
weights and a bias does both, and the feature maps are written and read once less.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from copy import deepcopy
from itertools import chain

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from stages.vision.data_flow import Convolved, Reads, convolved
from stages.vision.memory_format import Network

__all__ = ["folded"]

_Calls = Mapping[str, list[Convolved | None]]
"""Path of a batch normalisation -> the convolutions whose outputs it was given."""


def folded(network: Network, size: int, taps: Iterable[str] = ()) -> Network:
    """Fold each batch normalization that is the only reader of a convolution's output.

    The network is changed and returned. Module paths stay: a normalization is replaced by its activation (timm's have
    one), or by an Identity. Readers are found in one forward pass; a network that fails in it stays as it is. Feature
    maps and logits change by less than 1e-4 of their range.

    network: in eval mode, float32. size: side of the image ``(1, 3, S, S)`` of that pass. taps: paths of modules whose
    outputs are read elsewhere; these outputs stay unchanged.
    """
    if any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        with torch.inference_mode(False), torch.no_grad():
            for convolution, normalisation in _pairs(network, size, taps):
                _fold(network, convolution, normalisation)
    return network


def _pairs(network: nn.Module, size: int, taps: Iterable[str]) -> list[tuple[str, str]]:
    """Paths of convolutions, and of the batch normalisations that alone read their outputs."""
    calls, reads = _seen(network, size, taps)
    state = dict(chain(network.named_parameters(), network.named_buffers()))
    names = {id(tensor): name for name, tensor in state.items()}
    found = []
    for normalisation, given in calls.items():
        only = given[0] if len(given) == 1 else None
        if only is None or only.reads != 1:
            continue
        convolution, _, kind = names.get(id(only.weight), "").rpartition(".")
        own = [tensor for name, tensor in state.items() if name.rpartition(".")[0] in (convolution, normalisation)]
        if kind == "weight" and all(reads.times(tensor) <= 1 for tensor in own):
            found.append((convolution, normalisation))
    return found


def _seen(network: nn.Module, size: int, taps: Iterable[str]) -> tuple[_Calls, Reads]:
    """A forward pass: what each batch normalisation was given, and how often each tensor was read."""
    calls: dict[str, list[Convolved | None]] = {}
    reads = Reads()
    image = torch.zeros(1, 3, size, size, device=next(network.parameters()).device)
    with ExitStack() as hooks:
        for path, module in _normalisations(network):
            hooks.enter_context(module.register_forward_hook(_to_call(calls.setdefault(path, []))))
        for path in taps:
            hooks.enter_context(network.get_submodule(path).register_forward_hook(_to_output(reads)))
        try:
            with reads:
                reads.note(network(image))
        except (AssertionError, RuntimeError, ValueError):
            return {}, reads  # the network refuses this size: fold nothing
    return calls, reads


def _normalisations(network: nn.Module) -> Iterator[tuple[str, nn.BatchNorm2d]]:
    """Batch normalizations that are registered under a single path."""
    named = list(network.named_modules(remove_duplicate=False))
    paths = Counter(id(module) for _, module in named)
    for path, module in named:
        if isinstance(module, nn.BatchNorm2d) and paths[id(module)] == 1:
            yield path, module


def _to_call(calls: list[Convolved | None]) -> Callable[[nn.Module, tuple[torch.Tensor, ...], object], None]:
    """A hook that notes which convolution's output a module was given."""
    return lambda _module, given, _output: calls.extend(map(convolved, given))


def _to_output(reads: Reads) -> Callable[[nn.Module, object, object], None]:
    """A hook that counts a module's output as read once more."""
    return lambda _module, _given, output: reads.note(output)


def _fold(network: nn.Module, convolution: str, normalisation: str) -> None:
    """Fold one pair, if its modules behave as their base classes."""
    conv, norm = network.get_submodule(convolution), network.get_submodule(normalisation)
    if not (isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)):
        return
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None or not (_adds_its_bias(conv) and _only_normalises(norm)):
        return
    fused = fuse_conv_bn_weights(
        conv.weight.double(),
        _double(conv.bias),
        mean.double(),
        variance.double(),
        norm.eps,
        _double(norm.weight),
        _double(norm.bias),
    )
    conv.weight, conv.bias = (nn.Parameter(one.to(conv.weight), conv.weight.requires_grad) for one in fused)
    parent, _, name = normalisation.rpartition(".")
    setattr(network.get_submodule(parent), name, _activation(norm))


def _double(tensor: torch.Tensor | None) -> torch.Tensor | None:
    return None if tensor is None else tensor.double()


def _adds_its_bias(conv: nn.Conv2d) -> bool:
    """Whether a convolution adds a bias that is set on it; torch's own class does."""
    if type(conv) is nn.Conv2d:
        return True
    tried = deepcopy(conv).cpu()
    bias = torch.arange(1.0, tried.out_channels + 1)
    tried.weight, tried.bias = nn.Parameter(torch.zeros_like(tried.weight)), nn.Parameter(bias)
    sides = [step * (side - 1) + 1 for step, side in zip(tried.dilation, tried.kernel_size, strict=True)]
    maps = tried(torch.zeros(1, tried.in_channels, *sides))
    return torch.equal(maps, bias[None, :, None, None].expand_as(maps))


def _only_normalises(norm: nn.BatchNorm2d) -> bool:
    """Whether a batch normalization does nothing but normalize before its activation; torch's own class does."""
    if type(norm) is nn.BatchNorm2d:
        return True
    tried = deepcopy(norm).cpu()
    maps = torch.randn(8, tried.num_features, 1, 1, generator=torch.Generator().manual_seed(0))
    return torch.allclose(tried(maps), _activation(tried)(nn.BatchNorm2d.forward(tried, maps)))


def _activation(norm: nn.Module) -> nn.Module:
    """The activation inside of a batch normalization (timm's have one), or an Identity."""
    activation = getattr(norm, "act", None)
    return activation if isinstance(activation, nn.Module) else nn.Identity()
