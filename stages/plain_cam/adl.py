"""The attention-based dropout layer: the most discriminative part of a map is dropped, or the map is weighted.

Choe and Shim, "Attention-based Dropout Layer for Weakly Supervised Object Localization", CVPR 2019, section 3.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from stages.vision.tensor_normalisation import at_least_float32

__all__ = ["AttentionDropoutNetwork", "attention_dropout", "drop_mask", "importance_map", "self_attention"]


def self_attention(features: torch.Tensor) -> torch.Tensor:
    """The mean over channels of features ``(B, K, h, w)``: ``(B, 1, h, w)``, float32 at least."""
    return at_least_float32(features).mean(dim=1, keepdim=True)


def drop_mask(attention: torch.Tensor, threshold: float) -> torch.Tensor:
    """0 where an image's self-attention exceeds `threshold` times its maximum, else 1; no gradient.

    attention: ``(B, 1, h, w)``. Returns: the same shape and type.
    """
    values = attention.detach()
    return (values <= threshold * values.amax(dim=(2, 3), keepdim=True)).to(values.dtype)


def importance_map(attention: torch.Tensor) -> torch.Tensor:
    """The sigmoid of the self-attention ``(B, 1, h, w)``, differentiable in it."""
    return attention.sigmoid()


def attention_dropout(features: torch.Tensor, drops: bool, threshold: float) -> torch.Tensor:
    """Features times the drop mask, or times the importance map.

    drops: take the mask; one choice for a batch. features: ``(B, K, h, w)``. Returns: the same shape and type.
    """
    attention = self_attention(features)
    chosen = drop_mask(attention, threshold) if drops else importance_map(attention)
    return features * chosen.to(features.dtype)


class AttentionDropoutNetwork(nn.Module):
    """A classifier with attention-based dropout behind some of its modules; in eval mode, the classifier as it is.

    The dropout layer has no parameters and is in the network during a forward pass only.

    network: trained in place. paths: module paths inside it, each of which gives one map ``(B, K, h, w)``.
    rate: probability of the drop mask. draw: returns a uniform number, called for each layer in each batch.
    """

    def __init__(
        self,
        network: nn.Module,
        paths: Sequence[str],
        rate: float,
        threshold: float,
        draw: Callable[[], float],
    ) -> None:
        super().__init__()
        self.network = network
        self.paths = tuple(paths)
        self.rate = rate
        self.threshold = threshold
        self.draw = draw

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, C)`` of normalised images ``(B, 3, S, S)``."""
        if not self.training:
            return self.network(images)
        with self._dropping():
            return self.network(images)

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        def drop(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
            return attention_dropout(output, self.draw() < self.rate, self.threshold)

        handles = [self.network.get_submodule(path).register_forward_hook(drop) for path in self.paths]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
