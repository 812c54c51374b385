"""Affinity refinement (ARM): a coarse map, enlarged to the image, is spread between pixels of similar color.

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
    """Enlarge maps to their images and spread them; the high side stays the high side.

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
    contrast = units.amax(dim=(2, 3)) > 0  # without contrast, min-max would enlarge rounding errors
    return torch.where(contrast[:, :, None], found, 0)


def affinities(images: torch.Tensor, parameters: ArmParameters) -> torch.Tensor:
    """Weights of the neighbors of each pixel (equations 7 and 8); over the neighbors they sum to 1 + w_p.

    Color differences are measured in units of the unbiased standard deviation of a pixel's neighbors, channel by
    channel; their squares are averaged over the channels.

    images: ``(B, C, H, W)`` float32 or float64. Returns: ``(B, 8 D, H, W)`` of its type, for D dilations; by dilation,
    then in raster order. Raises: ValueError where the border is mirrored and a dilation is not below the image's sides.
    """
    around = _neighbours(images, parameters)
    deviation = (torch.stack(around).std(dim=0) + _EPSILON) * parameters.color_width
    likeness = torch.stack([-((images - neighbour) / deviation).square().mean(dim=1) for neighbour in around], dim=1)
    distances = torch.tensor([d * (y * y + x * x) ** 0.5 for d in parameters.dilations for y, x in _AROUND])
    nearness = (-(distances / (distances.std() + _EPSILON)).square()).softmax(dim=0).to(likeness)
    return likeness.softmax(dim=1).add_(parameters.position_weight * nearness[:, None, None])


def spread(maps: torch.Tensor, weights: torch.Tensor, parameters: ArmParameters) -> torch.Tensor:
    """In each iteration, replace each pixel by eta of itself plus 1 - eta of its weighted neighbors (equation 9).

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
