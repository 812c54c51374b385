"""Self-produced guidance: confident object and background positions of a map supervise another layer.

Zhang et al., "Self-produced Guidance for Weakly-supervised Object Localization", ECCV 2018, section 3.
"""

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate

from stages.plain_cam.parameters import Sureness
from stages.vision.tensor_normalisation import at_least_float32

__all__ = ["IGNORED", "guidance_mask", "guided_loss", "masked_cross_entropy"]

IGNORED = 255

_FEWEST, _OF_MAXIMUM = 30 / 224**2, 0.7


def guidance_mask(guide: torch.Tensor, sureness: Sureness) -> torch.Tensor:
    """1 where the guide exceeds the high threshold, 0 where it is below the low one, elsewhere 255; no gradient.

    Where fewer than 30 of 224 x 224 positions exceed it, the high threshold is 0.7 of the image's maximum, as in the
    published evaluator, so that a low guide still marks its highest positions as object.

    guide: ``(B, h, w)`` in [0, 1]. Returns: ``(B, h, w)`` uint8.
    """
    guide = guide.detach()
    fewest = _FEWEST * guide.shape[-2] * guide.shape[-1]
    scarce = (guide > sureness.high).sum(dim=(1, 2), keepdim=True) < fewest
    high = torch.where(scarce, _OF_MAXIMUM * guide.amax(dim=(1, 2), keepdim=True), sureness.high)
    mask = torch.full_like(guide, IGNORED, dtype=torch.uint8)
    return mask.masked_fill(guide > high, 1).masked_fill(guide < sureness.low, 0)


def masked_cross_entropy(logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean over images of the mean binary cross-entropy over an image's positions that are not ignored.

    An image without any counts as 0. The weight of an image does not depend on the others, so a batch may be divided
    over workers and micro batches.

    logits: ``(B, h, w)`` of any float type; mask: ``(B, h, w)`` of `guidance_mask`.
    """
    counts, values = mask != IGNORED, at_least_float32(logits)
    losses = binary_cross_entropy_with_logits(values, (mask == 1).to(values.dtype), reduction="none")
    return (torch.where(counts, losses, 0).sum(dim=(1, 2)) / counts.sum(dim=(1, 2)).clamp(min=1)).mean()


def guided_loss(logits: torch.Tensor, guide: torch.Tensor, sureness: Sureness) -> torch.Tensor:
    """`masked_cross_entropy` of logits ``(B, h, w)`` under a guide ``(B, h', w')``, resampled bilinearly to them."""
    grid = at_least_float32(guide.detach()).unsqueeze(1)
    fitted = interpolate(grid, logits.shape[-2:], mode="bilinear", align_corners=False)
    return masked_cross_entropy(logits, guidance_mask(fitted.squeeze(1), sureness))
