"""How alike the tokens of an image are, and the graph that is cut: TokenCut's parameters and definitions.

Wang et al., "Self-Supervised Transformers for Unsupervised Object Discovery using Normalized Cut", CVPR 2022, section
3.2. :mod:`stages.ncut.graph` multiplies with this graph without ever writing it down.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

__all__ = ["GRAPHS", "CutParameters", "GraphKind", "affinity", "cosines"]

GraphKind = Literal["binary", "soft"]
GRAPHS: tuple[GraphKind, ...] = get_args(GraphKind)

_NORM_EPSILON = 1e-12


@dataclass(frozen=True)
class CutParameters:
    """The graph's threshold, the weight of its absent edges and its kind; the defaults are TokenCut's.

    tau: tokens whose cosine exceeds it are joined (TokenCut: 0.2, on CUB 0.05). epsilon: weight of all other pairs.
    graph: ``binary`` joins with weight 1; ``soft`` with the cosine itself, from tau on, where it exceeds epsilon.

    Raises: ValueError for tau outside [-1, 1) ([0, 1) in a soft graph), epsilon outside [1e-7, 1), or an unknown graph.
    """

    tau: float = 0.2
    epsilon: float = 1e-5
    graph: GraphKind = "binary"

    def __post_init__(self) -> None:
        if self.graph not in GRAPHS:
            raise ValueError(f"graph must be one of {', '.join(GRAPHS)}, got {self.graph!r}")
        least = 0 if self.graph == "soft" else -1
        if not least <= self.tau < 1:
            raise ValueError(f"tau must be in [{least}, 1) for a {self.graph} graph, got {self.tau}")
        if not 1e-7 <= self.epsilon < 1:  # eigenvalues are of its order, and equal below 1e-8
            raise ValueError(f"epsilon must be in [1e-7, 1), got {self.epsilon}")


def cosines(tokens: np.ndarray) -> np.ndarray:
    """Cosine similarity of all pairs of tokens, ``(n, n)`` float32 (float64 of float64); a zero token's are 0.

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

    The diagonal is 1. similarity: ``(n, n)``, see `cosines`; of it, the lower triangle is read.
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
