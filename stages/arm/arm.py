"""Affinity refinement (ARM): a coarse map spread along what looks alike, at the resolution of the image.

Pan et al., "Coarse2Fine: Local Consistency Aware Re-prediction for Weakly Supervised Object Localization", AAAI 2023,
equations 7 to 9. It needs no training and helps any map.
"""

import torch
from torch.nn.functional import interpolate, pad

from stages.arm.parameters import ArmParameters
from stages.vision.tensor_normalisation import at_least_float32, min_max

__all__ = ["affinities", "refine", "spread"]

_AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
_EPSILON = 1e-8


def refine(images: torch.Tensor, maps: torch.Tensor, parameters: ArmParameters) -> torch.Tensor:
    """Enlarge maps to their images and spread them; what is high stays high.

    images: ``(B, 3, H, W)`` of any float type and scale. maps: ``(B, h, w)``, on the same device.
    Returns: ``(B, H, W)`` float32 (float64 where both are), min-maxed; a constant map becomes zeros.
    Raises: ValueError when shapes do not fit.
    """
    if images.ndim != 4 or maps.ndim != 3 or len(images) != len(maps):
        raise ValueError(
            f"images (B, C, H, W) and maps (B, h, w) do not fit: {tuple(images.shape)}, {tuple(maps.shape)}"
        )
    pixels = at_least_float32(images.detach())
    units = min_max(maps.detach())[:, None]
    fine = interpolate(units, pixels.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    start = (min_max(fine) - 0.5).to(torch.promote_types(pixels.dtype, fine.dtype))
    found = min_max(spread(start, affinities(pixels, parameters), parameters))
    contrast = units.amax(dim=(2, 3)) > 0  # else the last min-max would stretch rounding
    return torch.where(contrast[:, :, None], found, 0)


def affinities(images: torch.Tensor, parameters: ArmParameters) -> torch.Tensor:
    """How much each neighbour counts at each pixel (equations 7 and 8); over the neighbours they sum to 1 + w_p.

    Neighbours are compared in units of the deviation (unbiased) of all of a pixel's neighbours, channel by channel; of
    channels the mean of squares is taken.

    images: ``(B, C, H, W)`` float32 or float64. Returns: ``(B, 8 D, H, W)`` of its type; dilations, then raster order.
    Raises: ValueError where a dilation is not below the image's side and the border is a mirror image.
    """
    around = _neighbours(images, parameters)
    deviation = (torch.stack(around).std(dim=0) + _EPSILON) * parameters.color_width
    likeness = torch.stack([-((images - neighbour) / deviation).square().mean(dim=1) for neighbour in around], dim=1)
    distances = torch.tensor([d * (y * y + x * x) ** 0.5 for d in parameters.dilations for y, x in _AROUND])
    nearness = (-(distances / (distances.std() + _EPSILON)).square()).softmax(dim=0).to(likeness)
    return likeness.softmax(dim=1).add_(parameters.position_weight * nearness[:, None, None])


def spread(maps: torch.Tensor, weights: torch.Tensor, parameters: ArmParameters) -> torch.Tensor:
    """Replace each pixel, again and again, by a little of itself and much of its neighbours (equation 9).

    Linear in the maps ``(B, H, W)``. weights: `affinities` of the images. Returns: ``(B, H, W)`` of the maps' type.
    """
    for _ in range(parameters.iterations):
        around = _neighbours(maps[:, None], parameters)
        found = parameters.eta * maps
        for number, neighbour in enumerate(around):
            found.addcmul_(neighbour[:, 0], weights[:, number], value=1 - parameters.eta)
        maps = found
    return maps


def _neighbours(values: torch.Tensor, parameters: ArmParameters) -> list[torch.Tensor]:
    """The 8 shifted views ``(B, C, H, W)`` of each dilation."""
    height, width = values.shape[2:]
    most = max(parameters.dilations)
    if parameters.border == "reflect" and most >= min(height, width):
        raise ValueError(f"dilation {most} is too large to mirror an image of {width}x{height} pixels")
    padded = pad(values, (most,) * 4, mode=parameters.border)
    corners = [(most + d * y, most + d * x) for d in parameters.dilations for y, x in _AROUND]
    return [padded[:, :, top : top + height, left : left + width] for top, left in corners]
