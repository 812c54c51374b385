"""The similarity of an image's tokens, and the graph that is cut: TokenCut's definitions.

Wang et al., "Self-Supervised Transformers for Unsupervised Object Discovery using Normalized Cut", CVPR 2022, section
3.2. :mod:`stages.ncut.graph` multiplies with this graph without storing its matrix.
"""

import numpy as np

from stages.ncut.parameters import CutParameters

__all__ = ["affinity", "cosines"]

_NORM_EPSILON = 1e-12


def cosines(tokens: np.ndarray) -> np.ndarray:
    """Cosine similarity of all pairs of tokens, ``(n, n)`` float32 (float64 of float64); 0 for a token of zeros.

    tokens: ``(d, n)`` of any float type. Raises: ValueError when a token holds a NaN or an infinity.
    """
    values = tokens if tokens.dtype == np.float64 else tokens.astype(np.float32)
    lengths = np.linalg.norm(values, axis=0)
    if not np.isfinite(lengths).all():
        raise ValueError("features hold a NaN or an infinity, or are too large for their type")
    units = values / np.maximum(lengths, _NORM_EPSILON)
    return units.T @ units


def affinity(similarity: np.ndarray, parameters: CutParameters) -> np.ndarray:
    """Weights of the graph, ``(n, n)`` float64: 1, or the cosine, where tokens are joined, epsilon elsewhere.

    The diagonal is 1. similarity: ``(n, n)``, see `cosines`; only its lower triangle is read.
    """
    lower = np.tril(similarity, -1)
    both = lower + lower.T
    if parameters.graph == "soft":
        joined = (both >= parameters.tau) & (both > parameters.epsilon)
        weights = np.where(joined, both.astype(np.float64), parameters.epsilon)
    else:
        weights = np.where(both > parameters.tau, 1.0, parameters.epsilon)
    np.fill_diagonal(weights, 1.0)
    return weights
