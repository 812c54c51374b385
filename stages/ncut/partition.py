"""From an eigenvector to a foreground: the two sides, which of them is the object, and the object's component.

Wang et al., CVPR 2022, section 3.2: sides are divided at the mean; the side of the token with the largest absolute
value is the object. A small side has the larger values.
"""

from typing import NamedTuple

import cv2
import numpy as np

__all__ = ["Sides", "seed_component", "sides"]

_TIE = 1e-9


class Sides(NamedTuple):
    """vector: ``(n,)`` float64, the sign chosen. foreground: ``(n,)`` bool, the seed's side. seed: its index."""

    vector: np.ndarray
    foreground: np.ndarray
    seed: int


def sides(vector: np.ndarray) -> Sides:
    """Divide at the mean and choose the sign so that the seed, the largest absolute value, is foreground.

    Among values that are equal up to rounding, the first is the seed. Values equal to the mean up to rounding are
    background: in a graph in which nearly all pairs are joined, nearly all tokens are.
    vector: ``(n,)`` float64, of either sign.
    """
    sizes = np.abs(vector)
    largest = sizes.max()
    seed = int(np.argmax(sizes >= (1 - _TIE) * largest))
    turned = vector if vector[seed] > vector.mean() else -vector
    return Sides(turned, turned - turned.mean() > _TIE * largest, seed)


def seed_component(foreground: np.ndarray, seed: int) -> np.ndarray:
    """The 4-connected component of a ``(h, w)`` bool mask that holds the seed (a flat index), as a bool mask."""
    _, labels = cv2.connectedComponents(np.ascontiguousarray(foreground, dtype=np.uint8), connectivity=4)
    component: np.ndarray = labels == labels.ravel()[seed]
    return component
