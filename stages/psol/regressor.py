"""The box regressor of PSOL (Zhang et al., "Rethinking the Route Towards WSOL", CVPR 2020): -Sep and -Joint."""

import numpy as np
import torch
from torch import nn

from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.boxes import clip, denormalise, xywh_to_xyxy
from stages.vision.tensor_normalisation import at_least_float32

__all__ = ["BoxRegressor", "box_loss", "pixel_boxes"]

HIDDEN = 512


class BoxRegressor(nn.Module):
    """A network with the branch Linear(D, 512), ReLU, Linear(512, 4), Sigmoid on the input of its classifier.

    network: taken over; without `joint` it loses its classifier, in whose place the branch stands (-Sep).
    pooling: side p of the grid to which features are averaged before the branch reads all ``D p p`` numbers. The
    paper's networks have p = 1; a larger p lets a small network tell where an activation is, which averaging hides.
    joint: the classifier stays beside the branch (-Joint).

    Raises: ValueError for pooling above 1 where other layers follow the features (VGG16's fully connected ones).
    """

    def __init__(self, network: LocalizerNetwork, pooling: int = 1, joint: bool = False) -> None:
        super().__init__()
        if pooling > 1 and not network.has_cam:
            said = f"the classes of {network.backbone or type(network).__name__} do not come from averaged features"
            raise ValueError(f"{said}: pooling must be 1, not {pooling}")
        numbers = network.classifier.in_features * pooling**2
        if not joint:
            del network.classifier
        self.network = network
        self.pooling = pooling
        self.joint = joint
        self.branch = nn.Sequential(nn.Linear(numbers, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 4), nn.Sigmoid())

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Boxes ``(B, 4)``, ``x, y, width, height`` in [0, 1] of the network input, and logits ``(B, C)`` of -Joint.

        images: ``(B, 3, S, S)`` normalised.
        """
        if self.pooling == 1:
            pooled = numbers = self.network.pooled(images)
        else:
            maps = self.network.class_features(images)
            numbers = nn.functional.adaptive_avg_pool2d(maps, self.pooling).flatten(1)
            pooled = maps.mean(dim=(2, 3))
        return self.branch(numbers), self.network.classifier(pooled) if self.joint else None


def box_loss(predicted: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Mean squared error over ``(B, 4)`` normalised ``x, y, width, height``, float32 at least; weights: ``(B,)``.

    The result is not divided by the sum of weights: they have mean 1 over the training set, not over a batch.
    """
    errors = (at_least_float32(predicted) - target).square().mean(dim=1)
    return (errors if weights is None else errors * weights).mean()


def pixel_boxes(predicted: np.ndarray, width: float, height: float) -> np.ndarray:
    """Turn the network's ``(N, 4)`` output for a whole, squashed image into pixel boxes clipped to it, float32.

    Returns: ``(N, 4)``, ``x0, y0, x1, y1`` in an image of ``width`` x ``height`` pixels.
    """
    corners = clip(xywh_to_xyxy(predicted), 1.0, 1.0)
    return denormalise(corners, width, height).astype(np.float32)
