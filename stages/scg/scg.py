"""Self-correlation map generating (SCG): a coarse map sharpened by how an image's features correlate with themselves.

Pan et al., "Unveiling the Potential of Structure Preserving for Weakly Supervised Object Localization", CVPR 2021,
section 3.3 and algorithm 1. It needs no training and helps any map.
"""

from collections.abc import Callable, Sequence

import torch

from stages.scg.aggregation import Seeds, column_sums, localization_maps, on_grid, seeds, unit_maps
from stages.scg.parameters import ScgParameters
from stages.scg.self_correlation import fused
from stages.vision.tensor_normalisation import at_least_float32, min_max

__all__ = ["refine", "refine_by_definition", "unit_cams"]

CORRELATION_BYTES = 1 << 26
"""Most bytes that one correlation matrix of a batch may take: at 28x28, 27 images are computed at once."""


def unit_cams(cams: torch.Tensor) -> torch.Tensor:
    """Class activation maps as SCG compares them with its thresholds: ReLU, then min-max.

    cams: ``(..., h, w)`` of any float type. Returns: float32 of the same shape; a constant map becomes zeros.
    """
    return min_max(cams.detach().relu())


def refine(features: Sequence[torch.Tensor], cams: torch.Tensor, parameters: ScgParameters) -> torch.Tensor:
    """Refine the maps of K classes of each image; the correlation of an image is computed once for all of them.

    The released code compares the thresholds with maps that were enlarged to the image; to get its numbers, pass
    `unit_cams` of enlarged maps.

    features: one ``(B, d, h, w)`` of any float type a stage (SPA: two, summed), on the same grid. cams:
    ``(B, K, h', w')`` in [0, 1], see `unit_cams`; resampled to h x w where they differ.
    Returns: ``(B, K, h, w)`` float32 (float64 of float64) in [0, 1] on the features' device; zeros where no position is
    object, and where object and background maps are equal. Products are never in half precision, autocast or not.
    Raises: ValueError when shapes do not fit.
    """
    if parameters.order == 2 and all(stage.is_cpu and stage.dtype != torch.float64 for stage in features):
        # Numba, which this needs, is absent from bare GPU machines.
        from stages.scg.by_hand.self_correlation import seed_sums

        return _refine(features, cams, parameters, seed_sums)
    return refine_by_definition(features, cams, parameters)


def refine_by_definition(
    features: Sequence[torch.Tensor], cams: torch.Tensor, parameters: ScgParameters
) -> torch.Tensor:
    """What `refine` returns, ``(B, K, h, w)``, by plain tensor operations on any device; arguments as there."""
    return _refine(features, cams, parameters, _seed_sums)


def _refine(
    features: Sequence[torch.Tensor],
    cams: torch.Tensor,
    parameters: ScgParameters,
    sums_of: Callable[[Sequence[torch.Tensor], Seeds, ScgParameters], torch.Tensor],
) -> torch.Tensor:
    """Refine chunks of a batch, with sums of seed columns ``(B, 2, K, n)`` taken by `sums_of`."""
    _check_shapes(features, cams)
    height, width = features[0].shape[-2:]
    dtype = at_least_float32(features[0][:0]).dtype
    images = max(1, CORRELATION_BYTES // (dtype.itemsize * (height * width) ** 2))
    maps = []
    with torch.no_grad(), torch.autocast(features[0].device.type, enabled=False):
        chosen = seeds(on_grid(at_least_float32(cams), height, width), parameters)
        for start in range(0, len(cams), images):
            chunk = slice(start, start + images)
            sums = sums_of([stage[chunk] for stage in features], chosen[chunk], parameters)
            maps.append(localization_maps(unit_maps(sums)).to(dtype))
    return torch.cat(maps).unflatten(-1, (height, width)) if maps else cams.new_zeros(*cams.shape[:2], height, width)


def _seed_sums(features: Sequence[torch.Tensor], chosen: Seeds, parameters: ScgParameters) -> torch.Tensor:
    return column_sums(fused(features, parameters), chosen)


def _check_shapes(features: Sequence[torch.Tensor], cams: torch.Tensor) -> None:
    shapes = [tuple(stage.shape) for stage in features]
    grids = {(shape[0], *shape[2:]) for shape in shapes if len(shape) == 4}
    if len(grids) != 1 or len({len(shape) for shape in shapes}) != 1:
        raise ValueError(f"features must be (B, d, h, w) with the same B, h, w in each stage, got {shapes}")
    if cams.ndim != 4 or len(cams) != shapes[0][0]:
        raise ValueError(f"cams must be (B, K, h, w) of {shapes[0][0]} images, got {tuple(cams.shape)}")
