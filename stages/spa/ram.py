"""The restricted activation module of SPA: sigmoids of the label's map are driven to 1 on objects, 0 on background.

Pan et al., "Unveiling the Potential of Structure-Preserving for Weakly Supervised Object Localization", CVPR 2021,
section 3.2. Where the softmax over classes is flat, an image shows background; where one class leads, an object.
"""

import torch

from stages.vision.tensor_normalisation import at_least_float32

__all__ = ["pseudo_masks", "restricted_activation_loss", "softmax_variance"]

_EPSILON = 1e-15


def softmax_variance(maps: torch.Tensor) -> torch.Tensor:
    """Variance over the classes of the softmax at each position, min-max normalised in each image.

    Unbiased, and normalised, as in the released code: the paper's "standard deviation" stays below every threshold in
    use, for it cannot exceed the root of 1 / C.

    maps: class maps ``(B, C, h, w)`` before pooling, any float type. Returns: ``(B, h, w)`` float32 in [0, 1], zeros
    where the variance is constant; no gradient. Raises: ValueError for fewer than two classes.
    """
    if maps.shape[1] < 2:
        raise ValueError(f"a variance over classes needs two of them, got maps {tuple(maps.shape)}")
    variance = at_least_float32(maps.detach()).softmax(dim=1).var(dim=1)
    low = variance.amin(dim=(1, 2), keepdim=True)
    high = variance.amax(dim=(1, 2), keepdim=True)
    return (variance - low) / (high - low + _EPSILON)


def pseudo_masks(variance: torch.Tensor, threshold: float, gap: float) -> tuple[torch.Tensor, torch.Tensor]:
    """M_bg and M_obj: normalised variance below tau, and above tau + sigma (eq. 3 and 4).

    variance: ``(B, h, w)`` of `softmax_variance`. Returns: two disjoint bool masks ``(B, h, w)``.
    Raises: ValueError for a negative gap, with which they would overlap.
    """
    if gap < 0:
        raise ValueError(f"gap must be at least 0, got {gap}")
    return variance < threshold, variance > threshold + gap


def restricted_activation_loss(maps: torch.Tensor, labels: torch.Tensor, threshold: float, gap: float) -> torch.Tensor:
    """L_RA: mean of ``M_bg sigmoid(A_y) + M_obj (1 - sigmoid(A_y))`` over positions and images (eq. 5).

    The masks are constants, so gradients reach the label's map alone, and not in the band between the masks.

    maps: class maps A ``(B, C, h, w)``; labels: ``(B,)`` int64. Returns: a scalar in [0, 1].
    """
    background, foreground = pseudo_masks(softmax_variance(maps), threshold, gap)
    index = labels.view(-1, 1, 1, 1).expand(-1, 1, *maps.shape[2:])
    activation = at_least_float32(maps).gather(1, index).squeeze(1).sigmoid()
    return (background * activation + foreground * (1 - activation)).mean()
