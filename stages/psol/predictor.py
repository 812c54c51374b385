"""PSOL's regressor as a Predictor: one class-agnostic box an image, and with -Joint the image's classes."""

import numpy as np
import torch

from stages.psol.parameters import POOLING, VARIANT
from stages.psol.regressor import BoxRegressor, pixel_boxes
from stages.vision.backbones.build import build
from stages.vision.inference_network import for_inference
from stages.vision.model_card import ModelCard
from stages.vision.models import ready
from stages.vision.predictor import Predicted

__all__ = ["BoxPredictor"]


class BoxPredictor:
    """Predicts one box for each image, and with -Joint its classes."""

    def __init__(self, card: ModelCard, weights: bytes, device: str) -> None:
        network = build(card.backbone, card.num_classes)
        regressor = BoxRegressor(network, int(card.number(POOLING)), card.parts.get(VARIANT) == "joint")
        self._regressor = for_inference(ready(regressor, weights, device), card.input_size)

    def __call__(self, images: torch.Tensor) -> Predicted:
        """Boxes of normalised images (B, 3, S, S), as fractions of what they show, and logits."""
        predicted, logits = self._regressor(images)
        boxes = pixel_boxes(predicted.float().cpu().numpy(), 1.0, 1.0).astype(np.float32)
        return Predicted(boxes, np.ones(len(boxes), np.float32), logits)
