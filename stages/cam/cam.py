"""Class activation maps from features that end in global average pooling and a linear layer.

Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016: the map of class c is
``M_c = sum_k w_ck F_k``. The classifier's bias only shifts a map and is left out.
"""

import torch

__all__ = ["class_activation_maps", "pooled_logits"]


def pooled_logits(features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Logits from the features that the maps are made of, so that one forward pass serves both.

    features: ``(B, K, h, w)``; weight: ``(C, K)``; bias: ``(C,)``. Returns: ``(B, C)`` float32.
    """
    pooled = features.float().mean(dim=(2, 3))
    return torch.nn.functional.linear(pooled, weight.float(), None if bias is None else bias.float())


def class_activation_maps(features: torch.Tensor, weight: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """The map of one given class per image; the other classes' maps are never computed.

    features: ``(B, K, h, w)`` of any float type; weight: the classifier's ``(C, K)``; classes: ``(B,)`` integers.
    Returns: ``(B, h, w)`` float32, not normalised. Raises: ValueError when shapes do not fit.
    """
    if classes.shape != features.shape[:1] or weight.shape[1:] != features.shape[1:2]:
        raise ValueError(
            f"features {tuple(features.shape)}, weight {tuple(weight.shape)} and classes {tuple(classes.shape)} "
            "must be (B, K, h, w), (C, K) and (B,)"
        )
    return torch.einsum("bkhw,bk->bhw", features.float(), weight[classes].float())
