"""The two largest eigenvalues apart from a known one, and the eigenvector of the larger, by band Lanczos."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

__all__ = ["Leading", "Product", "two_largest"]

_BAND = 2
_CHECKED_EVERY = 4
_MAX_STEPS = 160
_TINY = 1e-12
_FIRST_TO_GAP, _FIRST = 1e-11, 1e-14
_SECOND_TO_GAP, _SECOND = 0.1, 1e-9
"""Residuals at which the iteration ends: relative to the gap between both values, but not below the level of rounding.

The error of the eigenvector is the first residual over the gap; the second value need only be known well enough to tell
the gap from zero.
"""

Product = Callable[[np.ndarray], np.ndarray]


class Leading(NamedTuple):
    """eigenvalues: the two largest, ``(2,)``. vector: ``(n,)`` float64 of unit length, belongs to the first."""

    eigenvalues: np.ndarray
    vector: np.ndarray


def two_largest(product: Product, known: np.ndarray) -> Leading | None:
    """The largest eigenpairs orthogonal to a known eigenvector, in float64 with full reorthogonalization.

    The band has two fixed starting vectors, so that a double eigenvalue is found, which one vector would miss.

    product: a symmetric matrix of norm about 1, times a vector. known: ``(n,)`` of unit length, n at least 8.
    Returns: None without convergence in 160 steps, or n - 3.
    """
    size, source = len(known), np.random.default_rng(0)
    steps = min(_MAX_STEPS, size - 1 - _BAND)
    basis, projected = np.empty((steps + 1 + _BAND, size)), np.zeros((steps + _BAND, steps))
    basis[0] = known
    for place in range(1, 1 + _BAND):
        basis[place] = _orthogonal(source.standard_normal(size), basis[:place])[0]
    for step in range(steps):
        place = step + 1 + _BAND
        vector, along, length = _orthogonal(product(basis[step + 1]), basis[:place])
        if length <= _TINY:  # an invariant subspace: go on with a random vector outside of it
            vector, length = _orthogonal(source.standard_normal(size), basis[:place])[0], 0.0
        basis[place] = vector
        projected[: step + _BAND, step], projected[step + _BAND, step] = along[1:], length
        if (step + 1) % _CHECKED_EVERY == 0:
            found = _converged(projected[: step + 1 + _BAND, : step + 1])
            if found is not None:
                values, weights = found
                return Leading(values, weights @ basis[1 : step + 2])
    return None


def _orthogonal(vector: np.ndarray, basis: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """The unit vector orthogonal to the basis, the components along it, the length removed; twice, as digits cancel."""
    along = basis @ vector
    vector = vector - along @ basis
    length = float(np.linalg.norm(vector))
    if length <= _TINY:
        return vector, along, length
    vector /= length
    again = basis @ vector
    vector -= again @ basis
    left = float(np.linalg.norm(vector))
    return vector / left, along + length * again, length * left


def _converged(projected: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The two largest values, and the first vector's weights in the basis; None while a residual is too large.

    projected: ``(m + 2, m)``, the matrix in the basis; its last two rows belong to basis vectors not yet multiplied.
    """
    inside, outside = projected[:-_BAND], projected[-_BAND:]
    values, vectors = np.linalg.eigh(inside, UPLO="U")
    first, second = np.linalg.norm(outside @ vectors[:, [-1, -2]], axis=0)
    gap = values[-1] - values[-2]
    if first > max(_FIRST_TO_GAP * gap, _FIRST) or second > max(_SECOND_TO_GAP * gap, _SECOND):
        return None
    return values[[-1, -2]], vectors[:, -1]
