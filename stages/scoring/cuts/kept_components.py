"""All components of at least some size of a uint8 map at every cut, in one pass over the pixels.

A component that is large enough at a cut stays so at all lower ones, where it only grows or merges; so those that are
kept are a short list, looked through once a cut.
"""

import numba
import numpy as np

from stages.scoring.cuts.largest import LEVELS, SIZE, X0, X1, Y0, Y1, add_pixels, begin, find_root
from stages.scoring.cuts.ring import ONE_PIXEL

__all__ = ["best_ious", "union_boxes"]


def union_boxes(levels: np.ndarray, least: int) -> np.ndarray:
    """Half-open boxes (255, 4) int64 around all 8-connected components of ``levels > T`` of at least `least` pixels.

    levels: (H, W) uint8. All zero at a cut T without such a component.
    """
    return _pass(levels, least, np.empty((0, 4)))[0]


def best_ious(levels: np.ndarray, least: int, truth: np.ndarray) -> np.ndarray:
    """Best IoU (255,) of the box of any such component with any ground-truth box (G, 4); -1 without a component."""
    return _pass(levels, least, np.ascontiguousarray(truth, dtype=np.float64))[1]


def _pass(levels: np.ndarray, least: int, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found: tuple[np.ndarray, np.ndarray] = _kept(levels, ONE_PIXEL, least, truth)
    return found


@numba.njit(cache=True, nogil=True)
def _kept(levels: np.ndarray, weights: np.ndarray, least: int, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    width = levels.shape[1]
    masks, order, starts, parents, traits, seen_at = begin(levels)
    kept = np.empty(levels.size, np.int32)
    number = 0
    unions = np.zeros((LEVELS, 4), np.int64)
    best = np.full(LEVELS, -1.0)
    for level in range(255, 0, -1):
        added = order[starts[255 - level] : starts[256 - level]]
        add_pixels(added, width, masks, weights, parents, traits)
        number = _refresh(added, kept, number, parents, traits, seen_at, level, least)
        for place in range(number):
            box = traits[kept[place]]
            best[level - 1] = max(best[level - 1], _best_iou(box, truth))
            if place == 0:
                unions[level - 1] = box[X0 : Y1 + 1]
            else:
                for side in range(2):
                    unions[level - 1, side] = min(unions[level - 1, side], box[X0 + side])
                    unions[level - 1, 2 + side] = max(unions[level - 1, 2 + side], box[X1 + side])
    return unions, best


@numba.njit(cache=True, nogil=True)
def _refresh(
    added: np.ndarray,
    kept: np.ndarray,
    number: int,
    parents: np.ndarray,
    traits: np.ndarray,
    seen: np.ndarray,
    stamp: int,
    least: int,
) -> int:
    """Replace the kept roots by those of now, and return how many there are."""
    now = 0
    for index in range(number + added.size):
        root = find_root(parents, kept[index] if index < number else added[index - number])
        if seen[root] == stamp or traits[root, SIZE] < least:
            continue
        seen[root] = stamp
        kept[now] = root  # never overtakes what is still to be read
        now += 1
    return now


@numba.njit(cache=True, nogil=True)
def _best_iou(box: np.ndarray, truth: np.ndarray) -> float:
    best = 0.0
    area = float((box[X1] - box[X0]) * (box[Y1] - box[Y0]))
    for index in range(len(truth)):
        across = min(float(box[X1]), truth[index, 2]) - max(float(box[X0]), truth[index, 0])
        down = min(float(box[Y1]), truth[index, 3]) - max(float(box[Y0]), truth[index, 1])
        if across <= 0 or down <= 0:
            continue
        shared = across * down
        own = (truth[index, 2] - truth[index, 0]) * (truth[index, 3] - truth[index, 1])
        best = max(best, shared / (area + own - shared))
    return best
