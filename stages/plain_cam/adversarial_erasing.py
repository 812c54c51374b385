"""Adversarial complementary learning: a second branch classifies features with the first one's region erased.

Zhang et al., "Adversarial Complementary Learning for Weakly Supervised Object Localization", CVPR 2018, section 3.
"""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from stages.plain_cam.two_branches import TwoBranchNetwork
from stages.vision.tensor_normalisation import at_least_float32

__all__ = ["ErasingNetwork", "two_branch_loss"]


class ErasingNetwork(nn.Module):
    """Logits of both branches in one pass, for training; `TwoBranchNetwork` itself returns only the first's.

    network: trained in place.
    """

    def __init__(self, network: TwoBranchNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits ``(B, C)`` of both branches; images: ``(B, 3, S, S)`` normalised; labels: ``(B,)`` int64."""
        first, second = self.network.branch_features(images, labels)
        return self.network.classifier(first.mean(dim=(2, 3))), self.network.second_classifier(second.mean(dim=(2, 3)))


def two_branch_loss(first: torch.Tensor, second: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The sum of both branches' cross-entropies; logits: ``(B, C)``; labels: ``(B,)`` int64."""
    return cross_entropy(at_least_float32(first), labels) + cross_entropy(at_least_float32(second), labels)
