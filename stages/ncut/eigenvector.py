"""The second smallest eigenvector of the normalized cut, ``(D - A) y = lambda D y`` (Shi and Malik 2000).

It is solved as ``B = D^-1/2 A D^-1/2``, whose second largest eigenvector z gives ``y = D^-1/2 z`` and
``lambda = 1 - mu``. The largest one, the square roots of the degrees, is known and left out. Where epsilon alone holds
a graph together, several eigenvalues are of its order: all of this is float64.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from stages.ncut.graph import Graph
from stages.ncut.lanczos import Leading, Product, two_largest

__all__ = ["SecondEigenvector", "dense_two_largest", "second_eigenvector"]

_DENSE = 64
"""Up to this many tokens the dense solver is as fast."""
_RESIDUAL_TO_GAP, _RESIDUAL = 1e-10, 1e-13
"""What Lanczos' residual may be: of the gap to the third eigenvalue, or so small that it is rounding."""
_MAX_DENSE_RESIDUAL = 1e-10
_SAME = 1e-8
"""Eigenvalues that lie closer together are one: rounding then chooses the vector in their plane."""


@dataclass(frozen=True)
class SecondEigenvector:
    """What the graph says about its best cut.

    vector: ``(n,)`` float64 with ``y^T D y = 1``; its sign is arbitrary. eigenvalues: the second and the third
    smallest, ``(2,)`` float64 in [0, 2]; the third to a tenth of their gap. residual: ``|B z - mu z|``. dense: whether
    the dense solver decided.
    """

    vector: np.ndarray
    eigenvalues: np.ndarray
    residual: float
    dense: bool

    @property
    def degenerate(self) -> bool:
        """Whether the vector is one of many: the second and the third eigenvalue are equal."""
        return bool(self.eigenvalues[1] - self.eigenvalues[0] <= _SAME)


def second_eigenvector(graph: Graph) -> SecondEigenvector:
    """Solve for the second smallest eigenvector of a graph of at least three tokens, whose degrees are positive.

    Lanczos from a fixed start; the dense solver decides where that does not converge, fails its residual, or has few
    tokens. Raises: ValueError for less than three tokens; ArithmeticError when the dense residual exceeds 1e-10.
    """
    if len(graph.degrees) < 3:
        raise ValueError(f"a cut needs at least three tokens, got {len(graph.degrees)}")
    roots = np.sqrt(graph.degrees)
    known = roots / np.linalg.norm(roots)

    def product(vector: np.ndarray) -> np.ndarray:
        return graph.product(vector / roots) / roots

    if len(known) > _DENSE and (found := two_largest(product, known)) is not None:
        residual, gap = _residual(product, found), found.eigenvalues[0] - found.eigenvalues[1]
        if residual <= max(_RESIDUAL_TO_GAP * gap, _RESIDUAL):
            return SecondEigenvector(found.vector / roots, 1 - found.eigenvalues, residual, dense=False)
    found = dense_two_largest(graph.dense() / roots / roots[:, None], known)
    residual = _residual(product, found)
    if residual > _MAX_DENSE_RESIDUAL:
        raise ArithmeticError(f"eigenvector residual {residual:.1e} exceeds {_MAX_DENSE_RESIDUAL:.0e}")
    return SecondEigenvector(found.vector / roots, 1 - found.eigenvalues, residual, dense=True)


def dense_two_largest(matrix: np.ndarray, known: np.ndarray) -> Leading:
    """What `two_largest` returns, of a matrix ``(n, n)`` with eigenvalues in (-1, 1], 1 being that of `known`."""
    moved = matrix - 2 * np.outer(known, known)  # the known eigenvalue becomes -1, below all others
    size = len(known)
    values, vectors = scipy.linalg.eigh(moved, subset_by_index=[size - 2, size - 1])
    return Leading(values[::-1].copy(), vectors[:, 1])


def _residual(product: Product, found: Leading) -> float:
    return float(np.linalg.norm(product(found.vector) - found.eigenvalues[0] * found.vector))
