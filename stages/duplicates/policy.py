"""What becomes of the images of a group: which splits they are used in, and which are left out."""

import numpy as np

from schemas.types import Split

__all__ = ["HELD_OUT_FIRST", "LEFT_OUT", "kept_alone", "one_split"]

HELD_OUT_FIRST: tuple[Split, ...] = ("test", "val", "dev", "train")
"""The splits in the order in which one is chosen for a group; a rank is an index into it. A split that is scored keeps
its images, and train gives up its copies of them, so that scores stay comparable with the benchmark. `test` comes
before `val` and `dev`, which choose thresholds."""

LEFT_OUT = -1
"""The rank of an image that is not used."""


def one_split(groups: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Move all images of a group to its most held-out split.

    groups: ``(N,)`` integers from 0. ranks: ``(N,)`` ranks of the images' splits. Returns: ``(N,)`` new ranks.
    """
    return _best(groups, ranks)[groups]


def kept_alone(groups: np.ndarray, ranks: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Keep one image of a group, the first of its most held-out split; none if its images have several classes.

    The right one of several classes is unknown, so such pictures are neither trained on nor scored.

    groups: ``(N,)`` integers from 0, in the order of image ids inside each group. ranks: ``(N,)`` ranks of the images'
    splits. classes: ``(N,)`` integers from 0. Returns: ``(N,)`` ranks or `LEFT_OUT`.
    """
    best = _best(groups, ranks)
    pairs = np.unique(groups.astype(np.int64) * (int(classes.max(initial=0)) + 1) + classes, return_index=True)[1]
    of_one_class = np.bincount(groups[pairs], minlength=len(best)) == 1
    able = np.flatnonzero((ranks == best[groups]) & of_one_class[groups])
    first = able[np.unique(groups[able], return_index=True)[1]]
    used = np.full(len(groups), LEFT_OUT)
    used[first] = ranks[first]
    return used


def _best(groups: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """The rank of the most held-out split of each group, by group number."""
    best = np.full(int(groups.max(initial=-1)) + 1, len(HELD_OUT_FIRST))
    np.minimum.at(best, groups, ranks)
    return best
