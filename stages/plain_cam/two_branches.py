"""A classifier with a second branch, which sees the features with the first one's region erased.

Zhang et al., "Adversarial Complementary Learning for Weakly Supervised Object Localization" (ACoL), CVPR 2018.
"""

from copy import deepcopy
from typing import ClassVar

import torch

from stages.vision.backbones.build import build
from stages.vision.backbones.label_maps import label_maps
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.model_card import ModelCard
from stages.vision.models import ready
from stages.vision.tensor_normalisation import at_least_float32, min_max

__all__ = ["THRESHOLD", "TwoBranchNetwork", "erase", "load"]

THRESHOLD = "acol_threshold"
"""Key of the model card: the threshold above which features are erased for the second branch."""


def erase(features: torch.Tensor, maps: torch.Tensor, threshold: float) -> torch.Tensor:
    """Features that are zero where a min-maxed map exceeds the threshold (section 3.3); no gradient to the map.

    features: ``(B, K, h, w)``; maps: ``(B, h, w)``, not normalised. Nothing is erased under a constant map.
    """
    return features * (min_max(maps.detach()) <= threshold).to(features.dtype).unsqueeze(1)


class TwoBranchNetwork(LocalizerNetwork):
    """Head and classifier twice over the same features. Classes are the first branch's, maps are those of both.

    The network that it is made of becomes the first branch, a copy of its head and classifier the second.
    threshold: delta, of the first branch's min-maxed map; features above it are erased for the second.
    """

    maps_itself = True
    heads: ClassVar[tuple[str, ...]] = (*LocalizerNetwork.heads, "second_head", "second_classifier")

    def __init__(self, network: LocalizerNetwork, threshold: float) -> None:
        classifier = network.classifier
        super().__init__(
            network.features, network.feature_dim, classifier.out_features, network.head, classifier.in_features
        )
        self.backbone = network.backbone
        self.threshold = threshold
        self.classifier = classifier
        self.second_head = deepcopy(network.head)
        self.second_classifier = deepcopy(classifier)

    def branch_features(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features that each branch pools, ``(B, K, h, w)``; images: ``(B, 3, S, S)`` normalised; labels: ``(B,)``."""
        shared, first = self._first(images)
        return first, self._second(shared, first, labels)

    def class_maps(self, images: torch.Tensor, labels: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Labels ``(B,)`` and their maps ``(B, h, w)`` float32: the larger one of both branches' min-maxed maps.

        labels: of the images ``(B, 3, S, S)``; None: the first branch's largest logit (section 3.3).
        """
        shared, first = self._first(images)
        if labels is None:
            with torch.autocast(first.device.type, enabled=False):
                labels = self.classifier(at_least_float32(first).mean(dim=(2, 3))).argmax(dim=1)
        second = self._second(shared, first, labels)
        maps = (
            min_max(label_maps(features, classifier.weight, labels))
            for features, classifier in ((first, self.classifier), (second, self.second_classifier))
        )
        return labels, torch.maximum(*maps)

    def _first(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The shared features, and those of the first branch."""
        shared = self.features(images)
        return shared, shared if self.head is None else self.head(shared)

    def _second(self, shared: torch.Tensor, first: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        maps = label_maps(first.detach(), self.classifier.weight.detach(), labels)
        erased = erase(shared, maps, self.threshold)
        return erased if self.second_head is None else self.second_head(erased)


def load(card: ModelCard, weights: bytes, device: str) -> TwoBranchNetwork:
    """The network of an artifact, in eval mode on a device."""
    network = TwoBranchNetwork(build(card.backbone, card.num_classes), card.number(THRESHOLD))
    return ready(network, weights, device)
