"""PSOL's regressor as a Predictor: one class-agnostic box an image."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from pipeline.predictor import Predicted
from stages.psol.regressor import BoxRegressor, pixel_boxes
from stages.vision.backbones import build
from stages.vision.tensor_bytes import load


class BoxPredictor:
    """Predicts one box for each image."""

    def __init__(self, card: Mapping[str, Any], weights: bytes, device: str) -> None:
        self.input_size = int(card["input_size"])
        backbone = build(card["backbone"], 1)
        regressor = BoxRegressor(backbone.features, backbone.feature_dim, card["pooling"])
        regressor.load_state_dict(load(weights))
        self._regressor = regressor.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, images: torch.Tensor) -> Predicted:
        """Boxes of normalised images (B, 3, S, S), as fractions of the image."""
        boxes = pixel_boxes(self._regressor(images).float().cpu().numpy(), 1.0, 1.0)
        return Predicted(boxes=boxes, box_scores=np.ones(len(boxes), np.float32))
