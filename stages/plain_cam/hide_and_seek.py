"""Hide-and-Seek: patches of training images are hidden, so that less discriminative parts are learned too.

Singh and Lee, "Hide-and-Seek: Forcing a Network to be Meticulous for Weakly-Supervised Object and Action
Localization", ICCV 2017, section 3.1.
"""

from collections.abc import Callable

import torch

__all__ = ["hide_patches", "patch_side"]

_REFERENCE_SIDE = 224


def patch_side(grid: float, size: int) -> int:
    """Side of a patch in pixels, at least 1; grid: that side at inputs of 224 pixels; size: side of the input."""
    return max(1, round(grid * size / _REFERENCE_SIDE))


def hide_patches(
    images: torch.Tensor, side: int, rate: float, rand: Callable[..., torch.Tensor] = torch.rand
) -> torch.Tensor:
    """Images with each patch of a grid hidden with probability `rate`, drawn for every image by itself.

    The grid begins at the top left corner; patches at the right and the bottom may be cut off. What is hidden is 0,
    the mean colour of normalised images, so the statistics of the first layer stay those of whole images.

    images: ``(B, 3, H, W)`` normalised, any float type; side: of a patch, pixels. rand: (B, 1, rows, columns) ->
    uniform numbers. Returns: the same shape and type.
    """
    height, width = images.shape[-2:]
    rows, columns = -(-height // side), -(-width // side)
    hidden = rand(len(images), 1, rows, columns).to(images.device) < rate
    pixels = hidden.repeat_interleave(side, dim=2).repeat_interleave(side, dim=3)
    return images.clone().masked_fill_(pixels[:, :, :height, :width], 0)  # without a copy the memory format is lost
