"""The Predictor contract: what a trained model does with a batch of images, whatever its method."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch


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


class LoadPredictor(Protocol):
    """How a method makes a Predictor from a model artifact."""

    def __call__(self, card: Mapping[str, Any], weights: bytes, device: str) -> Predictor:
        """`card`: the model's JSON card. `weights`: its safetensors bytes."""
