"""The classifier as a Predictor: top-k classes with their softmax scores."""

from collections.abc import Mapping
from typing import Any

import torch

from pipeline.predictor import Predicted
from stages.vision.models import classifier_network
from stages.vision.top_classes import top_classes


class ClassPredictor:
    """Predicts the five best classes (fewer where there are fewer)."""

    def __init__(self, card: Mapping[str, Any], weights: bytes, device: str) -> None:
        self.input_size = int(card["input_size"])
        self._network = classifier_network(card, weights, device)

    def __call__(self, images: torch.Tensor) -> Predicted:
        """Top classes of normalised images (B, 3, S, S)."""
        classes, scores = top_classes(self._network(images))
        return Predicted(classes=classes, class_scores=scores)
