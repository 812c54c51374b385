"""What becomes of the images of a group: which splits they are used in, and which are left out."""

import numpy as np

from schemas.types import SPLITS

__all__ = ["HELD_OUT_FIRST", "kept_alone", "one_split"]

HELD_OUT_FIRST = ("test", "val", "dev", "train")
"""The splits in the order in which one is chosen for a group. A split that is scored keeps its images, and training
gives up those that are in it, too: so numbers stay those of the benchmark. `test` is before `val` and `dev`, which
choose thresholds."""

_RANK = {split: rank for rank, split in enumerate(HELD_OUT_FIRST)}


def one_split(groups: np.ndarray, splits: np.ndarray) -> np.ndarray:
    """All images of a group in its most held-out split.

    groups: ``(N,)`` integers from 0. splits: ``(N,)`` texts. Returns: ``(N,)`` texts.
    """
    return np.array(HELD_OUT_FIRST, object)[_best(groups, splits)[groups]]


def kept_alone(groups: np.ndarray, splits: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """One image of a group, the first of its most held-out split; none where its images are of several classes.

    Nobody knows which of several classes is right, so such pictures neither teach nor score.

    groups: ``(N,)`` integers from 0, in the order of image ids inside each group. splits, classes: ``(N,)`` texts.
    Returns: ``(N,)`` texts, None for images that are left out.
    """
    best = _best(groups, splits)
    ranks = _ranks(splits)
    _, own = np.unique(classes, return_inverse=True)
    pairs = np.unique(np.stack([groups, own]), axis=1)[0]
    of_one_class = np.bincount(pairs, minlength=len(best)) == 1
    able = np.flatnonzero((ranks == best[groups]) & of_one_class[groups])
    _, first = np.unique(groups[able], return_index=True)
    used = np.full(len(groups), None, object)
    used[able[first]] = splits[able[first]]
    return used


def _ranks(splits: np.ndarray) -> np.ndarray:
    names, own = np.unique(splits, return_inverse=True)
    return np.array([_RANK[name] for name in names], np.int64)[own]


def _best(groups: np.ndarray, splits: np.ndarray) -> np.ndarray:
    """The rank of the most held-out split of each group."""
    best = np.full(int(groups.max(initial=-1)) + 1, len(SPLITS))
    np.minimum.at(best, groups, _ranks(splits))
    return best
