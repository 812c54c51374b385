"""PSOL's regressor as a Predictor: one class-agnostic box an image, and with -Joint the image's classes."""

import numpy as np
import torch

from stages.psol.augment import crop_start, from_centre_crop, side_before_crop
from stages.psol.parameters import POOLING, TEST_CROP, VARIANT
from stages.psol.regressor import BoxRegressor, pixel_boxes
from stages.vision.backbones.build import build
from stages.vision.model_card import ModelCard
from stages.vision.models import ready
from stages.vision.predictor import Predicted
from stages.vision.top_classes import top_classes

__all__ = ["BoxPredictor"]


class BoxPredictor:
    """Predicts one box for each image, and with -Joint its five best classes (fewer where there are fewer).

    A card with a test crop below 1 lets the network see the centre of the image alone, as the paper does. The boxes are
    those of the whole image all the same, but reach no further than that centre.
    """

    def __init__(self, card: ModelCard, weights: bytes, device: str) -> None:
        self._crop = card.input_size
        self.input_size = side_before_crop(self._crop, card.number(TEST_CROP))
        network = build(card.backbone, card.num_classes)
        regressor = BoxRegressor(network, int(card.number(POOLING)), card.parts.get(VARIANT) == "joint")
        self._regressor = ready(regressor, weights, device)

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
