"""The class-agnostic box regressor of PSOL (Zhang et al., "Rethinking the Route Towards WSOL", CVPR 2020, -Sep)."""

import numpy as np
import torch
from torch import nn

from stages.vision.boxes import clip, denormalise, xywh_to_xyxy, xyxy_to_xywh
from stages.vision.boxes import normalise as normalise_boxes

__all__ = ["LOSS_WEIGHT", "BoxRegressor", "box_loss", "pixel_boxes", "regression_targets"]

HIDDEN = 512
LOSS_WEIGHT = 50.0
"""Weight of the mean squared error in the released code; the paper's plain error undertrains at its learning rate."""


class BoxRegressor(nn.Module):
    """A backbone's features, pooling, and the head Linear(D, 512), ReLU, Linear(512, 4), Sigmoid.

    pooling: side p of the grid to which the features are averaged before the head reads all ``D p p`` numbers. The
    paper's networks have p = 1; a larger p lets a small network tell where an activation is, which averaging hides.
    """

    def __init__(self, features: nn.Module, feature_dim: int, pooling: int = 1) -> None:
        super().__init__()
        self.features = features
        self.feature_dim = feature_dim
        self.pooling = pooling
        self.head = nn.Sequential(
            nn.Linear(feature_dim * pooling**2, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 4), nn.Sigmoid()
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Boxes ``(B, 4)``, ``x, y, width, height`` in [0, 1] of the network input, of images ``(B, 3, S, S)``."""
        pooled = nn.functional.adaptive_avg_pool2d(self.features(images), self.pooling)
        return self.head(pooled.flatten(1))


def box_loss(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """50 times the mean squared error over ``(B, 4)`` normalised ``x, y, width, height``, in float32."""
    return LOSS_WEIGHT * nn.functional.mse_loss(predicted.float(), target.float())


def regression_targets(boxes: np.ndarray, width: float, height: float) -> np.ndarray:
    """Turn pixel boxes ``(N, 4)`` ``x0, y0, x1, y1`` of one frame into targets ``x, y, width, height``, float32."""
    return xyxy_to_xywh(normalise_boxes(boxes, width, height)).astype(np.float32)


def pixel_boxes(predicted: np.ndarray, width: float, height: float) -> np.ndarray:
    """Turn the network's ``(N, 4)`` output for a whole, squashed image into pixel boxes clipped to it, float32.

    Returns: ``(N, 4)``, ``x0, y0, x1, y1`` in an image of ``width`` x ``height`` pixels.
    """
    corners = clip(xywh_to_xyxy(predicted), 1.0, 1.0)
    return denormalise(corners, width, height).astype(np.float32)
