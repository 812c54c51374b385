"""Class activation maps of given labels inside a forward pass, with gradients and mixed precision."""

import torch

from stages.vision.tensor_normalisation import at_least_float32

__all__ = ["label_maps"]


def label_maps(features: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The map of each image's label, differentiable, summed over channels in float32 even under autocast.

    features: ``(B, K, h, w)``; weight: the classifier's ``(C, K)``; labels: ``(B,)`` int64. Returns: ``(B, h, w)``
    float32 (float64 of float64), without the classifier's bias (Zhou et al., CAM, eq. 2).
    """
    with torch.autocast(features.device.type, enabled=False):
        return torch.einsum("bkhw,bk->bhw", at_least_float32(features), at_least_float32(weight[labels]))
