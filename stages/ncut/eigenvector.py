"""The second smallest eigenvector of the normalized cut, ``(D - A) y = lambda D y`` (Shi and Malik 2000).

It is solved by way of ``B = D^-1/2 A D^-1/2``: its second largest eigenvalue mu and eigenvector z give
``lambda = 1 - mu`` and ``y = D^-1/2 z``. Its largest eigenvector, the square roots of the degrees, is known and left
out. Where only epsilon connects parts of a graph, several eigenvalues are of the order of epsilon: hence float64.
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
"""The largest residual of Lanczos that is accepted: relative to the gap to the third eigenvalue, or absolute."""
_MAX_DENSE_RESIDUAL = 1e-10
_SAME = 1e-8
"""Eigenvalues closer than this count as equal: rounding then decides which vector of their plane is found."""


@dataclass(frozen=True)
class SecondEigenvector:
    """The eigenvector that gives a graph's best cut.

    vector: ``(n,)`` float64 with ``y^T D y = 1``; its sign is arbitrary. eigenvalues: the second and the third
    smallest, ``(2,)`` float64 in [0, 2]; the third is exact to a tenth of their gap. residual: ``|B z - mu z|``. dense:
    whether the dense solver found it.
    """

    vector: np.ndarray
    eigenvalues: np.ndarray
    residual: float
    dense: bool

    @property
    def degenerate(self) -> bool:
        """Whether the second and the third eigenvalue are equal, so that the vector is not unique."""
        return bool(self.eigenvalues[1] - self.eigenvalues[0] <= _SAME)


def second_eigenvector(graph: Graph) -> SecondEigenvector:
    """Solve for the second smallest eigenvector of a graph of at least three tokens, whose degrees are positive.

    Lanczos from a fixed start; the dense solver for few tokens, or where Lanczos does not converge or its residual is
    too large. Raises: ValueError for less than three tokens; ArithmeticError when the dense residual exceeds 1e-10.
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
    """What `two_largest` returns, of a matrix ``(n, n)`` with eigenvalues in (-1, 1]; known ``(n,)`` has 1."""
    moved = matrix - 2 * np.outer(known, known)  # the known eigenvalue becomes -1, below all others
    size = len(known)
    values, vectors = scipy.linalg.eigh(moved, subset_by_index=[size - 2, size - 1])
    return Leading(values[::-1].copy(), vectors[:, 1])


def _residual(product: Product, found: Leading) -> float:
    return float(np.linalg.norm(product(found.vector) - found.eigenvalues[0] * found.vector))
