"""Class activation maps from features that end in global average pooling and a linear layer.

Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016: the map of class c is
``M_c = sum_k w_ck F_k``. The classifier's bias only shifts a map and is left out.

Yang et al., "Combinational Class Activation Maps for Weakly Supervised Object Localization" (CCAM), WACV 2020: one map
an image, ``sum_k g(k) M_k`` over all classes in the order of their logits, the largest first. g falls from 1 to -1.
"""

import torch

from stages.cam.options import Combination

__all__ = ["class_activation_maps", "combined_maps", "pooled_logits", "rank_weights"]


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


def rank_weights(classes: int, combination: Combination) -> torch.Tensor:
    """The weight g(k) of the class with the k-th largest logit, as the paper's published code has it.

    linear: in equal steps from 1 to -1. quadratic: from 1 to 0 over the first half, from 0 to -1 over the second, in
    equal steps that are squared. Returns: ``(classes,)`` float32.
    """
    if combination == "linear":
        return torch.linspace(1, -1, classes)
    upper, lower = (torch.linspace(1, 0, half) ** 2 for half in (classes - classes // 2, classes // 2))
    return torch.cat([upper, -lower.flip(0)])


def combined_maps(
    features: torch.Tensor, weight: torch.Tensor, logits: torch.Tensor, combination: Combination
) -> torch.Tensor:
    """The rank-weighted sum of all classes' maps, one per image; computed by summing the classifier's weights.

    features: ``(B, K, h, w)`` of any float type; weight: the classifier's ``(C, K)``; logits: ``(B, C)``.
    Returns: ``(B, h, w)`` float32, not normalised.
    """
    ranked = rank_weights(weight.shape[0], combination).to(logits.device)
    by_class = torch.empty_like(logits, dtype=torch.float32)
    by_class.scatter_(1, logits.argsort(dim=1, descending=True, stable=True), ranked.expand(len(logits), -1))
    return torch.einsum("bkhw,bk->bhw", features.float(), by_class @ weight.float())
