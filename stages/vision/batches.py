"""Images as network batches."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch

from stages.vision.preprocessing import Colours, Preprocessing
from stages.vision.transfer import to_device

__all__ = ["to_batch"]


def to_batch(
    images: Sequence[np.ndarray] | np.ndarray, preprocessing: Preprocessing, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Stack equally sized images and normalize them by the mean and deviation of a network's preprocessing.

    The images travel to the device as bytes and become floats there, as rows of 3 S numbers: broadcasting over an
    innermost axis of three channels is several times slower.

    images: each ``(S, S, 3)`` uint8. Returns: ``(B, 3, S, S)`` float32 in channels_last memory order.
    Raises: ValueError for an empty list or images of different sizes.
    """
    if not len(images):
        raise ValueError("images is empty: a batch needs at least one image")
    shapes = {image.shape for image in images}
    if len(shapes) > 1:
        raise ValueError(f"images differ in shape: {sorted(shapes)}; resize them first")
    pixels = to_device(images if isinstance(images, np.ndarray) else np.stack(list(images)), device)
    mean, std = _statistics(preprocessing.mean, preprocessing.deviation, pixels.shape[2], str(device))
    normalised = pixels.flatten(2).float().sub_(mean).div_(std)
    return normalised.view(pixels.shape).permute(0, 3, 1, 2)


@cache
def _statistics(
    mean_colours: Colours, deviation: Colours, width: int, device: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation (3 width,) on the device: making them for each batch would make a GPU wait."""
    with torch.inference_mode(False):
        pair = (torch.tensor(values) * 255 for values in (mean_colours, deviation))
        mean, std = (values.repeat(width).to(device) for values in pair)
    return mean, std
