"""Self-correlation of features: similarity of two positions, directly and along paths over other positions.

Pan et al., "Unveiling the Potential of Structure Preserving for Weakly Supervised Object Localization", CVPR 2021,
section 3.3. This is the definition, on any device; :mod:`stages.scg.by_hand.self_correlation` is a faster form.

A correlation is ``(B, n, n)`` over the n = h w positions in raster order. Column j belongs to the seed j: it is the map
of what is correlated with position j (the paper writes it as row j).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from stages.scg.parameters import ScgParameters
from stages.vision.tensor_normalisation import at_least_float32

__all__ = ["FLAT", "Orders", "combined", "fused", "orders", "similarity", "stretched", "unit_vectors"]

NORM_EPSILON = 1e-10
SUM_EPSILON = 1e-5
SHARE_EPSILON = 1e-10
FLAT = 1e-6
"""A range below this fraction of the maximum is rounding: such a column, or map, is constant."""


class Orders(NamedTuple):
    """First-order and high-order correlation, each ``(B, n, n)``; high is None for an order of 1."""

    first: torch.Tensor
    high: torch.Tensor | None


def unit_vectors(features: torch.Tensor) -> torch.Tensor:
    """Features ``(B, d, h, w)`` as vectors of unit length, ``(B, d, n)`` float32 (float64 of float64); zeros stay."""
    vectors = at_least_float32(features.detach()).flatten(2)
    return vectors / (vectors.norm(dim=1, keepdim=True) + NORM_EPSILON)


def similarity(features: torch.Tensor, theta1: float) -> torch.Tensor:
    """ReLU of the cosine similarity of all pairs of positions, zero below theta1 (equations 6 and 7).

    features: ``(B, d, h, w)`` of any float type. Returns: ``(B, n, n)``, symmetric, float32 (float64 of float64). A
    position whose features are zero, or hold a NaN or an infinity, is similar to none, itself included.
    """
    units = unit_vectors(features)
    cosine = torch.bmm(units.mT, units)
    return torch.where(cosine >= theta1, cosine, 0)


def orders(alike: torch.Tensor, parameters: ScgParameters) -> Orders:
    """First-order and high-order correlation of a similarity ``(B, n, n)``, before the two are combined.

    ``vgg``: the first order is the similarity with columns divided by their sums; a high order multiplies steps, which
    are the same without the diagonal, and divides columns by their sums after each product.
    ``paper``: the first order is the similarity; a high order sums over paths whose neighbours are distinct and that do
    not come back to their start before the last step (equation 8), and its columns go from 0 to 1 (equation 9).
    """
    return _by_sums(alike, parameters) if parameters.normalisation == "vgg" else _by_ranges(alike, parameters)


def combined(found: Orders, parameters: ScgParameters) -> torch.Tensor:
    """Maximum ``(B, n, n)`` of the first order and omega times the high one; with ``vgg``, columns again sum to 1."""
    if found.high is None:
        return found.first
    largest = torch.maximum(found.first, parameters.omega * found.high)
    return _shares(largest, SHARE_EPSILON) if parameters.normalisation == "vgg" else largest


def fused(features: Sequence[torch.Tensor], parameters: ScgParameters) -> torch.Tensor:
    """Sum over stages of the combined correlations, ``(B, n, n)``.

    features: one ``(B, d, h, w)`` a stage, of any float type; d may differ, the grid may not.
    """
    first, *others = (combined(orders(similarity(f, parameters.theta1), parameters), parameters) for f in features)
    return sum(others, start=first)


def stretched(values: torch.Tensor, dim: int) -> torch.Tensor:
    """Min-max along a dimension of values of any shape, none negative; zeros where they are constant, see `FLAT`."""
    low, high = values.amin(dim=dim, keepdim=True), values.amax(dim=dim, keepdim=True)
    usable = high - low > FLAT * high
    return torch.where(usable, (values - low) / torch.where(usable, high - low, 1), 0)


def _by_sums(alike: torch.Tensor, parameters: ScgParameters) -> Orders:
    first = _shares(alike, SUM_EPSILON)
    if parameters.order == 1:
        return Orders(first, None)
    steps = paths = _shares(_off_diagonal(alike), SUM_EPSILON)
    for _ in range(parameters.order - 1):
        paths = _shares(torch.bmm(paths, steps), SHARE_EPSILON)
    return Orders(first, torch.where(paths >= parameters.theta2 / alike.shape[-1], paths, 0))


def _by_ranges(alike: torch.Tensor, parameters: ScgParameters) -> Orders:
    if parameters.order == 1:
        return Orders(alike, None)
    steps = paths = _off_diagonal(alike)
    for _ in range(parameters.order - 1):
        paths = torch.bmm(_off_diagonal(paths), steps) / alike.shape[-1]
    paths = stretched(paths, dim=1)
    return Orders(alike, torch.where(paths >= parameters.theta2, paths, 0))


def _shares(values: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Columns divided by their sums."""
    return values / (values.sum(dim=1, keepdim=True) + epsilon)


def _off_diagonal(values: torch.Tensor) -> torch.Tensor:
    diagonal = torch.eye(values.shape[-1], dtype=torch.bool, device=values.device)
    return values.masked_fill(diagonal, 0)
