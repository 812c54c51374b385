"""The Predictor contract: what a trained model does with a batch of images; and classifiers as predictors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.model_card import ModelCard
from stages.vision.top_classes import top_classes

__all__ = ["ClassPredictor", "LoadPredictor", "Predicted", "Predictor"]


@dataclass(frozen=True)
class Predicted:
    """Predictions for a batch of B images; what a method does not predict is None.

    boxes: (B, 4) float32 x0 y0 x1 y1 as fractions of the whole image. box_scores: (B,) float32.
    classes: (B, k) int32, best first. class_scores: (B, k) float32 softmax scores.
    """

    boxes: np.ndarray | None = None
    box_scores: np.ndarray | None = None
    classes: np.ndarray | None = None
    class_scores: np.ndarray | None = None


class Predictor(Protocol):
    """A model ready on its device."""

    input_size: int

    def __call__(self, images: torch.Tensor) -> Predicted:
        """Predict for normalised images (B, 3, input_size, input_size) that show whole images, squashed."""


LoadPredictor = Callable[[ModelCard, bytes, str], Predictor]
"""(card, safetensors bytes, device) -> the predictor of a method."""


class ClassPredictor:
    """Predicts the five best classes (fewer where there are fewer) by a classifier's logits."""

    def __init__(self, network: LocalizerNetwork, input_size: int) -> None:
        self.input_size = input_size
        self._network = network

    def __call__(self, images: torch.Tensor) -> Predicted:
        """Top classes of normalised images (B, 3, S, S)."""
        classes, scores = top_classes(self._network(images))
        return Predicted(classes=classes, class_scores=scores)
