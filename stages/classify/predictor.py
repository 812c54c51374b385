"""The classifier as a Predictor: top-k classes with their softmax scores."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from pipeline.predictor import Predicted
from stages.vision.models import classifier_network

TOP = 5


class ClassPredictor:
    """Predicts the five best classes (fewer where there are fewer)."""

    def __init__(self, card: Mapping[str, Any], weights: bytes, device: str) -> None:
        self.input_size = int(card["input_size"])
        self._network = classifier_network(card, weights, device)

    def __call__(self, images: torch.Tensor) -> Predicted:
        """Top classes of normalised images (B, 3, S, S)."""
        scores = self._network(images).float().softmax(dim=1)
        best = scores.topk(min(TOP, scores.shape[1]), dim=1)
        return Predicted(
            classes=best.indices.cpu().numpy().astype(np.int32),
            class_scores=best.values.cpu().numpy().astype(np.float32),
        )
