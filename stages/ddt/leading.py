"""The two largest eigenvalues of a covariance, and the first eigenvector, without all the others."""

import numpy as np

__all__ = ["leading"]

_DENSE = 200
"""Up to this dimension all eigenvectors at once take a few milliseconds."""
_CHECKED_EVERY = 8
_MAX_STEPS = 160
_RESIDUALS = np.array([1e-11, 1e-7])
"""Residuals of the first and the second eigenpair at which the iteration ends, relative to the largest eigenvalue."""


def leading(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues ``(2,)``, the largest first, and the unit eigenvector ``(d,)`` of the largest.

    matrix: ``(d, d)`` float64, symmetric. The vector's sign, and the vector of a double eigenvalue, are arbitrary.
    Lanczos with full reorthogonalisation from a fixed start; where that has not converged, as on a spectrum without a
    leading value, the dense solver decides. Second eigenvalue 0 for d = 1.
    """
    found = _lanczos(matrix) if len(matrix) > _DENSE else None
    if found is not None:
        return found
    values, vectors = np.linalg.eigh(matrix)
    return np.pad(values[::-1][:2], (0, max(0, 2 - len(values)))), vectors[:, -1]


def _lanczos(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """As `leading`; None without convergence, or where the start vector lies in an invariant subspace."""
    basis = np.zeros((_MAX_STEPS + 1, len(matrix)))
    basis[0] = np.random.default_rng(0).standard_normal(len(matrix))
    basis[0] /= np.linalg.norm(basis[0])
    diagonal, beside = np.zeros(_MAX_STEPS), np.zeros(_MAX_STEPS)
    for step in range(_MAX_STEPS):
        vector = matrix @ basis[step]
        diagonal[step] = vector @ basis[step]
        for _ in range(2):  # twice, because digits cancel
            vector -= basis[: step + 1].T @ (basis[: step + 1] @ vector)
        beside[step] = np.linalg.norm(vector)
        if beside[step] <= 1e-14 * np.abs(diagonal[: step + 1]).max():
            return None
        basis[step + 1] = vector / beside[step]
        if step % _CHECKED_EVERY == _CHECKED_EVERY - 1:
            size = step + 1
            small = np.diag(diagonal[:size]) + np.diag(beside[: size - 1], 1) + np.diag(beside[: size - 1], -1)
            values, vectors = np.linalg.eigh(small)
            residuals = beside[step] * np.abs(vectors[-1, [-1, -2]])
            if (residuals <= _RESIDUALS * values[-1]).all():
                component = basis[:size].T @ vectors[:, -1]
                return values[[-1, -2]], component / np.linalg.norm(component)
    return None
