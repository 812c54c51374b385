"""From a self-correlation and seeds to a localization map: object minus background (SPA, equations 11 to 13)."""

import torch

from stages.scg.parameters import ScgParameters
from stages.scg.self_correlation import FLAT, stretched

__all__ = ["Seeds", "column_sums", "localization_maps", "on_grid", "seeds", "unit_maps"]

Seeds = torch.Tensor
"""``(B, 2, K, n)`` bool: the object positions, then the background positions, of each of K maps of an image."""


def on_grid(cams: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Maps ``(B, K, h', w')`` at height x width: bilinear with half-pixel centres, unchanged if of that size."""
    if cams.shape[-2:] == (height, width):
        return cams
    return torch.nn.functional.interpolate(cams, (height, width), mode="bilinear", align_corners=False)


def seeds(cams: torch.Tensor, parameters: ScgParameters) -> Seeds:
    """Object positions, where the CAM is at least delta_h, and background positions, where it is at most delta_l.

    cams: ``(B, K, h, w)`` on the features' grid, not normalized here. A NaN is neither.
    """
    values = cams.flatten(2)
    return torch.stack([values >= parameters.delta_h, values <= parameters.delta_l], dim=1)


def column_sums(correlation: torch.Tensor, chosen: Seeds) -> torch.Tensor:
    """Sums of the chosen columns, each min-maxed before: one matrix product for all maps of an image.

    correlation: ``(B, n, n)``. Returns: ``(B, 2, K, n)`` float64, because object and background often differ by little.
    """
    units = stretched(correlation, dim=1).double()
    return torch.bmm(chosen.flatten(1, 2).double(), units.mT).unflatten(1, chosen.shape[1:3])


def unit_maps(sums: torch.Tensor) -> torch.Tensor:
    """The maps M_obj and M_bg: sums ``(B, 2, K, n)``, min-maxed; zeros where no column was chosen."""
    return stretched(sums, dim=-1)


def localization_maps(units: torch.Tensor) -> torch.Tensor:
    """``ReLU(M_obj - M_bg)``, min-maxed; zeros where the two are equal.

    units: ``(B, 2, K, n)``. Returns: ``(B, K, n)`` of their type.
    """
    difference = (units[:, 0] - units[:, 1]).relu()
    known = difference.amax(dim=-1, keepdim=True) > FLAT
    return torch.where(known, stretched(difference, dim=-1), 0)
