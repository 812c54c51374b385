"""The Predictor contract: what a trained model does with a batch of images; and classifiers as predictors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.model_card import ModelCard

__all__ = ["ClassPredictor", "LoadPredictor", "Predicted", "Predictor"]


@dataclass(frozen=True)
class Predicted:
    """Predictions for a batch of B images; what a method does not predict is None.

    boxes: (B, 4) float32 x0 y0 x1 y1 as fractions of the input image. box_scores: (B,) float32.
    logits: (B, C) of any float type, on any device.
    """

    boxes: np.ndarray | None = None
    box_scores: np.ndarray | None = None
    logits: torch.Tensor | None = None


class Predictor(Protocol):
    """A model ready on its device."""

    def __call__(self, images: torch.Tensor) -> Predicted:
        """Predict for normalised images (B, 3, S, S), S the card's input_size."""


LoadPredictor = Callable[[ModelCard, bytes, str], Predictor]
"""(card, safetensors bytes, device) -> the predictor of a method."""


class ClassPredictor:
    """Predicts classes by a classifier's logits."""

    def __init__(self, network: LocalizerNetwork) -> None:
        self._network = network

    def __call__(self, images: torch.Tensor) -> Predicted:
        """Logits of normalised images (B, 3, S, S)."""
        return Predicted(logits=self._network(images))
