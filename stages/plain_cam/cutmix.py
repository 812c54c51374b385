"""CutMix: a box of each training image comes from another one, and the labels are weighted by area.

Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features", ICCV 2019,
section 3.1.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy

__all__ = ["Box", "Mixed", "draw_box", "mix", "mixed_cross_entropy", "random_box"]

Box = tuple[slice, slice]
"""Rows and columns of a box, pixels."""


@dataclass(frozen=True)
class Mixed:
    """A batch with boxes of other images.

    images: ``(B, 3, H, W)``. labels: of the images; others: of the images in their boxes, both ``(B,)`` int64.
    kept: lambda, the share of the area outside the box, and weight of the first label.
    """

    images: torch.Tensor
    labels: torch.Tensor
    others: torch.Tensor
    kept: float


def mix(images: torch.Tensor, labels: torch.Tensor, box: Box | None) -> Mixed:
    """Paste a box from each image's neighbour into the image: those at 2i and 2i + 1 exchange their boxes.

    Images come in a random order, so a neighbour is any other image; pairs never part, however a batch is divided over
    workers and micro batches. The released code pairs the batch with itself in another random order.

    images: ``(B, 3, H, W)``, B even; labels: ``(B,)`` int64. box: the same for all images of a step; None: no mixing.
    """
    if box is None:
        return Mixed(images, labels, labels, 1.0)
    height, width = images.shape[-2:]
    rows, columns = box
    mixed = images.clone()
    mixed[:, :, rows, columns] = _neighbours(images[:, :, rows, columns])
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return Mixed(mixed, labels, _neighbours(labels), 1 - area / (height * width))


def _neighbours(values: torch.Tensor) -> torch.Tensor:
    """The values ``(B, ...)`` with the two of each pair exchanged."""
    return values.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)


def draw_box(size: int, beta: float, probability: float, generator: np.random.Generator) -> Box | None:
    """The box of one step, in images of `size` pixels a side.

    beta: lambda is drawn from Beta(beta, beta); 1 is uniform. probability: that images are mixed; else the box is None.
    """
    if generator.random() >= probability:
        return None
    return random_box(size, size, float(generator.beta(beta, beta)), generator)


def random_box(height: int, width: int, kept: float, generator: np.random.Generator) -> Box:
    """Rows and columns of a box with the image's aspect ratio, clipped to the image (eq. 2).

    Its centre is uniform over the pixels, and its area at most ``1 - kept`` of the image: less where it is clipped.
    kept: lambda as drawn, in [0, 1].
    """
    side = math.sqrt(1 - kept)
    return _span(height, side, generator), _span(width, side, generator)


def _span(length: int, side: float, generator: np.random.Generator) -> slice:
    half = int(length * side) // 2
    centre = int(generator.integers(length))
    return slice(max(0, centre - half), min(length, centre + half))


def mixed_cross_entropy(logits: torch.Tensor, mixed: Mixed) -> torch.Tensor:
    """``lambda CE(y_A) + (1 - lambda) CE(y_B)``, the mean over a batch; logits: ``(B, C)`` float32 (eq. 1)."""
    first, second = cross_entropy(logits, mixed.labels), cross_entropy(logits, mixed.others)
    return mixed.kept * first + (1 - mixed.kept) * second
