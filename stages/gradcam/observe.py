"""A layer's output, and the gradient of the chosen logits by it; the network is left unchanged."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from pytorch_grad_cam.base_cam import BaseCAM

__all__ = ["Observation", "TapError", "observe"]

_UNUSED = "the logits do not depend on it"


class TapError(ValueError):
    """No map can be made at the layer; the message says why."""


@dataclass(frozen=True)
class Observation:
    """A layer's output in a forward pass and, for methods that need it, its gradient from a backward pass.

    activations: ``(B, K, h, w)`` float32. gradients: d(logit)/d(activations), the same shape; None without a backward
    pass. classes: ``(B,)`` int64, whose logits were taken.
    """

    activations: np.ndarray
    gradients: np.ndarray | None
    classes: torch.Tensor


def observe(explainer: "BaseCAM", layer: nn.Module, images: torch.Tensor, classes: torch.Tensor | None) -> Observation:
    """Run the network of an explainer once, over all images together.

    The autograd graph begins at the layer: nothing before it is differentiated, no parameter gets a gradient, and later
    in-place operations work on a copy. Whether gradients are on depends on the explainer alone, not on the caller.

    explainer: a `BaseCAM` of pytorch-grad-cam; the hooks that it set at its construction are removed at the end.
    images: ``(B, 3, S, S)``. classes: ``(B,)`` integers; None: the largest logit of each image.
    Raises: TapError when the layer does not give one map ``(B, K, h, w)``, or the logits do not depend on it.
    """
    seen, backward = explainer.activations_and_grads, explainer.uses_gradients
    try:
        with torch.inference_mode(False), torch.set_grad_enabled(backward), _frozen(explainer.model), _leaf(layer):
            logits = seen(images)
            classes = logits.detach().argmax(dim=1) if classes is None else classes
            activations = _only(seen.activations)
            if backward:
                _require(logits.requires_grad, _UNUSED)
                logits.gather(1, classes[:, None]).sum().backward()
            return Observation(activations.numpy(), seen.gradients[0].numpy() if backward else None, classes)
    finally:
        seen.release()


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """No parameter requires a gradient inside."""
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


@contextmanager
def _leaf(layer: nn.Module) -> Iterator[None]:
    """Make the layer's output a leaf of the graph: other hooks see the leaf, the rest of the network a copy."""
    handles = [
        layer.register_forward_hook(lambda _module, _inputs, output: _start(output), prepend=True),
        layer.register_forward_hook(lambda _module, _inputs, output: output.clone()),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _start(output: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
    """A leaf with the values of a layer's output."""
    if not isinstance(output, torch.Tensor) or output.ndim != 4:
        shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise TapError(f"it gives {shape}, not one map (B, K, h, w)")
    return output.detach().requires_grad_(torch.is_grad_enabled())


def _only(activations: list[torch.Tensor]) -> torch.Tensor:
    _require(len(activations) > 0, _UNUSED)
    _require(len(activations) == 1, f"a forward pass goes through it {len(activations)} times, not once")
    return activations[0]


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise TapError(otherwise)
