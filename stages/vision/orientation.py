"""Which side of a map is the object: the one where more of the class's seeds lie."""

import torch
from torch.nn.functional import interpolate

from stages.vision.tensor_normalisation import at_least_float32, min_max

__all__ = ["oriented", "seed_regions"]


def seed_regions(class_maps: torch.Tensor, height: int, width: int, beta: float) -> torch.Tensor:
    """Where a class map is above beta: ``(B, height, width)`` bool (LCAR, equation 2).

    class_maps: ``(B, h, w)``; min-maxed, then enlarged bilinearly, then compared.
    """
    units = min_max(class_maps.detach())[:, None]
    return interpolate(units, (height, width), mode="bilinear", align_corners=False)[:, 0] > beta


def oriented(maps: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
    """Invert a map (1 - E) if seeds cover more of its low side than of its high side (LCAR, equations 10, 11).

    The high side is the pixels above the map's mean. A map stays as it is if both shares are equal (as without seeds),
    or if a side is empty (a constant map).

    maps: ``(B, H, W)`` in [0, 1]. seeds: ``(B, H, W)`` bool. Returns: ``(B, H, W)`` float32 (float64 of float64).
    """
    values = at_least_float32(maps)
    high = values > values.double().mean(dim=(1, 2), keepdim=True)
    on_high, on_low = ((side & seeds).sum(dim=(1, 2)).double() / side.sum(dim=(1, 2)) for side in (high, ~high))
    turned = on_high < on_low  # an empty side gives NaN, which is not less
    return torch.where(turned[:, None, None], 1 - values, values)
