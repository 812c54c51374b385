"""Score maps as tensors that may carry gradients; `score_maps` holds the same for finished maps in host memory."""

import torch

__all__ = ["at_least_float32", "min_max"]


def at_least_float32(values: torch.Tensor) -> torch.Tensor:
    """Values of any shape: half precisions become float32, in which sums and norms are taken; others stay."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def min_max(maps: torch.Tensor) -> torch.Tensor:
    """Stretch each map to [0, 1], differentiably in its minimum and maximum too.

    A constant map, or one with a NaN or an infinity, becomes zeros and passes no gradient on. Positions that tie for
    the minimum or maximum share its gradient equally.

    maps: ``(..., H, W)`` of any float type. Returns: float32 (float64 of float64), attaining 0 and 1 where not zero.
    """
    values = at_least_float32(maps)
    extent = _maximum(values.detach()) + _maximum(-values.detach())
    usable = torch.isfinite(extent) & (extent > 0)
    kept = torch.where(usable, values, 0)  # masked first: the gradient of a maximum over NaN is NaN, even times 0
    shifted = kept + _maximum(-kept)
    return shifted / torch.where(usable, _maximum(shifted), 1)


def _maximum(values: torch.Tensor) -> torch.Tensor:
    return values.amax(dim=(-2, -1), keepdim=True)
