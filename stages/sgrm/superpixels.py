"""Superpixels: parts of an image that look alike, and what a map or a prediction says of each as a whole."""

import numpy as np
import torch

from stages.sgrm.parameters import SuperpixelParameters

__all__ = ["majority", "means", "superpixels"]


def superpixels(image: np.ndarray, parameters: SuperpixelParameters) -> np.ndarray:
    """Graph-based segmentation of an image (Felzenszwalb and Huttenlocher, IJCV 2004).

    image: ``(H, W, 3)`` uint8. Returns: ``(H, W)`` int64, the superpixels' ids 0 .. n - 1.
    """
    from skimage.segmentation import felzenszwalb  # takes a second, and only this function needs it

    found = felzenszwalb(image, scale=parameters.scale, sigma=parameters.sigma, min_size=parameters.min_size)
    return found.astype(np.int64)


def means(values: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """At each pixel the mean over its superpixel.

    values: ``(B, N)`` of any type. ids: ``(B, N)`` int64, from 0 in each image. Returns: ``(B, N)`` float64.
    """
    sums = values.new_zeros((len(ids), int(ids.max()) + 1), dtype=torch.float64)
    counts = sums.scatter_add(1, ids, torch.ones_like(values, dtype=torch.float64))
    return (sums.scatter_add_(1, ids, values.double()) / counts).gather(1, ids)


def majority(chosen: torch.Tensor, ids: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """At each pixel whether more than half of its superpixel is chosen (the vote of LCAR).

    chosen: ``(B, N)`` bool. ids: ``(B, N)`` int64. counts: ``(B, S)``, pixels of each superpixel; S may exceed
    the superpixels of an image. Returns: ``(B, N)`` bool.
    """
    votes = torch.zeros_like(counts).scatter_add_(1, ids, chosen.to(counts.dtype))
    return (2 * votes > counts).gather(1, ids)
