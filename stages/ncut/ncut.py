"""TokenCut: an image's foreground as the best cut through the graph of its tokens, without labels or training.

Wang et al., "Self-Supervised Transformers for Unsupervised Object Discovery using Normalized Cut", CVPR 2022. Two
guards are added: isolated tokens (joined to no other) are left out of the graph, as cutting them off would be the best
cut; a graph without a best cut, such as one in which all tokens are joined, gives no foreground.
"""

from dataclasses import dataclass

import numpy as np

from stages.ncut.affinity import cosines
from stages.ncut.eigenvector import SecondEigenvector, second_eigenvector
from stages.ncut.graph import Graph, graph_of
from stages.ncut.parameters import Component, CutParameters
from stages.ncut.partition import seed_component, sides

__all__ = ["DEGENERATE", "Cut", "cut", "cuts", "score_map"]

DEGENERATE = "degenerate_graph"


@dataclass(frozen=True)
class Cut:
    """The cut of one image.

    eigenvector: ``(h, w)`` float64, ``y^T D y = 1``, the seed on the side above the mean; isolated tokens hold the mean
    of the others; zeros when degenerate. foreground: ``(h, w)`` bool, above the mean. seed: flat index of the token
    with the largest absolute value, None when degenerate. isolated: ``(h, w)`` bool, tokens joined to no other.
    solved: what the eigensolver found on the rest, None where fewer than three are left.
    """

    eigenvector: np.ndarray
    foreground: np.ndarray
    seed: int | None
    isolated: np.ndarray
    solved: SecondEigenvector | None

    @property
    def flag(self) -> str | None:
        """`DEGENERATE`, or None for a cut."""
        return DEGENERATE if self.seed is None else None


def cuts(features: np.ndarray, parameters: CutParameters) -> list[Cut]:
    """The cut of each image of a batch ``(B, d, h, w)``, equal to the bit to `cut` of the image alone."""
    return [cut(of_image, parameters) for of_image in features]


def cut(features: np.ndarray, parameters: CutParameters) -> Cut:
    """Cut the graph of an image's tokens.

    features: ``(d, h, w)`` of any float type: TokenCut's are the keys of a ViT's last block, heads concatenated.
    Raises: ValueError when features are not of that shape, or hold a NaN or an infinity.
    """
    if features.ndim != 3:
        raise ValueError(f"features must be (d, h, w), got {features.shape}")
    grid = features.shape[1:]
    graph, kept = _joined(cosines(features.reshape(len(features), -1)), parameters)
    solved = None if graph is None else second_eigenvector(graph)
    isolated = np.ones(grid, dtype=bool)
    isolated.ravel()[kept] = False
    if solved is None or solved.degenerate:
        return Cut(np.zeros(grid), np.zeros(grid, dtype=bool), None, isolated, solved)
    vector, foreground, seed = sides(solved.vector)
    eigenvector, mask = np.full(grid, vector.mean()), np.zeros(grid, dtype=bool)
    eigenvector.ravel()[kept], mask.ravel()[kept] = vector, foreground
    return Cut(eigenvector, mask, int(kept[seed]), isolated, solved)


def score_map(found: Cut, component: Component = "all") -> np.ndarray:
    """The eigenvector minus its mean, divided by its largest absolute value: ``(h, w)`` float32 in [-1, 1].

    Positive is foreground, so 0 is TokenCut's threshold; isolated tokens are 0, and so is a degenerate cut's whole map.
    component: ``seed`` sets the foreground outside the seed's 4-connected component to 0; what stays above 0 is
    TokenCut's mask.
    """
    if found.seed is None:
        return np.zeros(found.eigenvector.shape, dtype=np.float32)
    values = found.eigenvector - found.eigenvector[~found.isolated].mean()
    values /= np.abs(values).max()
    values[found.isolated] = 0
    kept = found.foreground if component == "all" else seed_component(found.foreground, found.seed)
    return np.where(kept, values, np.minimum(values, 0)).astype(np.float32)


def _joined(similarity: np.ndarray, parameters: CutParameters) -> tuple[Graph | None, np.ndarray]:
    """The graph of the tokens that are joined to another (None for fewer than three), and their indices."""
    graph = graph_of(similarity, parameters)
    kept = np.flatnonzero(graph.neighbours)
    if len(kept) < 3:
        return None, kept
    if len(kept) < len(similarity):
        graph = graph_of(similarity[np.ix_(kept, kept)], parameters)
    return graph, kept
