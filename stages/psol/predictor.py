"""PSOL's regressor as a Predictor: one class-agnostic box an image, and with -Joint the image's classes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from pipeline.predictor import Predicted
from stages.psol.augment import crop_start, from_centre_crop, side_before_crop
from stages.psol.presets import JOINT
from stages.psol.regressor import BoxRegressor, pixel_boxes
from stages.vision.backbones import build
from stages.vision.tensor_bytes import load
from stages.vision.top_classes import top_classes


class BoxPredictor:
    """Predicts one box for each image, and with -Joint its five best classes (fewer where there are fewer).

    A card with a `test_crop` below 1 lets the network see the centre of the image alone, as the paper does. The boxes
    are those of the whole image all the same, but reach no further than that centre.
    """

    def __init__(self, card: Mapping[str, Any], weights: bytes, device: str) -> None:
        self._crop = int(card["input_size"])
        self.input_size = side_before_crop(self._crop, card["test_crop"])
        joint = card["variant"] == JOINT
        network = build(card["backbone"], card["num_classes"] if joint else 1)
        regressor = BoxRegressor(network, card["pooling"], joint)
        regressor.load_state_dict(load(weights))
        self._regressor = regressor.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, images: torch.Tensor) -> Predicted:
        """Boxes of normalised images (B, 3, S, S), as fractions of the image, and top classes."""
        start = crop_start(self.input_size, self._crop)
        seen = slice(start, start + self._crop)
        predicted, logits = self._regressor(images[:, :, seen, seen])
        inside = pixel_boxes(predicted.float().cpu().numpy(), 1.0, 1.0)
        boxes = from_centre_crop(inside, 1, 1, self.input_size, self._crop).astype(np.float32)
        scores = np.ones(len(boxes), np.float32)
        if logits is None:
            return Predicted(boxes=boxes, box_scores=scores)
        classes, class_scores = top_classes(logits)
        return Predicted(boxes=boxes, box_scores=scores, classes=classes, class_scores=class_scores)
