"""CutMix: a box of each training image comes from another one, and the label is shared out by area.

Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features", ICCV 2019,
section 3.1.
"""

import math
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

__all__ = ["Mixed", "mix", "mixed_cross_entropy", "random_box"]


@dataclass(frozen=True)
class Mixed:
    """A batch with boxes of other images.

    images: ``(B, 3, H, W)``. labels: of the images; others: of those in their boxes, both ``(B,)`` int64.
    kept: lambda, the share of the area outside the box, and of the first label.
    """

    images: torch.Tensor
    labels: torch.Tensor
    others: torch.Tensor
    kept: float


def mix(images: torch.Tensor, labels: torch.Tensor, beta: float = 1.0, probability: float = 1.0) -> Mixed:
    """Paste one box, the same for the whole batch, from the images in a random order into the images.

    images: ``(B, 3, H, W)``; labels: ``(B,)`` int64. beta: lambda is drawn from Beta(beta, beta); 1 is uniform.
    probability: of a batch being mixed at all.
    """
    if float(torch.rand(())) >= probability:
        return Mixed(images, labels, labels, 1.0)
    share = float(torch.distributions.Beta(beta, beta).sample())
    height, width = images.shape[-2:]
    rows, columns = random_box(height, width, share)
    order = torch.randperm(len(images), device=images.device)
    mixed = images.clone()
    mixed[:, :, rows, columns] = images[:, :, rows, columns][order]
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return Mixed(mixed, labels, labels[order], 1 - area / (height * width))


def random_box(height: int, width: int, share: float) -> tuple[slice, slice]:
    """Rows and columns of a box with the image's aspect ratio, clipped to the image (eq. 2).

    Its centre is uniform over the pixels, and its area at most ``1 - share`` of the image: less where it is clipped.
    share: lambda as drawn, in [0, 1].
    """
    side = math.sqrt(1 - share)
    return _span(height, side), _span(width, side)


def _span(length: int, side: float) -> slice:
    half = int(length * side) // 2
    centre = int(torch.randint(length, ()))
    return slice(max(0, centre - half), min(length, centre + half))


def mixed_cross_entropy(logits: torch.Tensor, mixed: Mixed) -> torch.Tensor:
    """``lambda CE(y_A) + (1 - lambda) CE(y_B)``, the mean over a batch; logits: ``(B, C)`` float32 (eq. 1)."""
    first, second = cross_entropy(logits, mixed.labels), cross_entropy(logits, mixed.others)
    return mixed.kept * first + (1 - mixed.kept) * second
