"""The largest component of a uint8 map at every cut, in one pass over the pixels.

Components of the cuts T = 254, 253, ... 0 (pixels strictly above T) only grow and merge, so one union-find over the
pixels in falling order meets them all; size is a sum over pixels, and the largest so far is all that must be kept.
"""

import numba
import numpy as np

from stages.scoring.cuts.ring import AT_EDGE, COLUMN_STEPS, REPRESENTATIVES, ROW_STEPS, ring_masks

LEVELS = 255


SIZE, FIRST, X0, Y0, X1, Y1 = range(6)


@numba.njit(cache=True, nogil=True)
def largest_boxes(levels: np.ndarray, weights: np.ndarray, last_of_equals: bool) -> np.ndarray:
    """Half-open box and size (255, 5) int64 of the largest 8-connected component of ``levels > T`` at each cut T.

    Args:
        levels: (H, W) uint8.
        weights: (256,) int64, what a pixel adds to the size of its component, by its ring mask
            (:data:`stages.scoring.cuts.ring.ONE_PIXEL` or :data:`~stages.scoring.cuts.ring.DOUBLED_AREA`).
        last_of_equals: among equal sizes take the component whose first pixel in raster order comes last, else first.

    Returns:
        x0, y0, x1, y1 in pixels of the map, and the size; all zero where no pixel is above the cut.
    """
    width = levels.shape[1]
    masks, order, starts, parents, traits, seen_at = begin(levels)
    leaders = np.empty(levels.size, np.int32)
    leading = 0
    result = np.zeros((LEVELS, 5), np.int64)
    for level in range(255, 0, -1):
        added = order[starts[255 - level] : starts[256 - level]]
        add_pixels(added, width, masks, weights, parents, traits)
        leading = _find_leaders(added, leaders, leading, parents, traits, seen_at, level)
        if leading:
            leader = _first_or_last(leaders[:leading], traits, last_of_equals)
            result[level - 1, :4], result[level - 1, 4] = traits[leader, X0:], traits[leader, SIZE]
    return result


@numba.njit(cache=True, nogil=True)
def begin(
    levels: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What a pass over a map ``(H, W)`` uint8 of P pixels starts from, all flat.

    Returns: ring masks ``(P,)``; order and starts of `raster_order`; and room for parents ``(P,)`` int32 and traits
    ``(P, 6)`` int32 of `add_pixels`, and for the cut ``(P,)`` int32 at which a root was seen last, -1.
    """
    order, starts = raster_order(levels.ravel())
    parents, traits = np.empty(levels.size, np.int32), np.empty((levels.size, 6), np.int32)
    return ring_masks(levels).ravel(), order, starts, parents, traits, np.full(levels.size, -1, np.int32)


@numba.njit(cache=True, nogil=True)
def raster_order(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (P,) int32 of a flat uint8 map by level, high first, in raster order within; and the start of each level.

    The pixels of level g are ``order[starts[255 - g]:starts[256 - g]]``.
    """
    starts = np.zeros(257, np.int64)
    for level in levels:
        starts[256 - level] += 1
    for slot in range(256):
        starts[slot + 1] += starts[slot]
    filled = starts.copy()
    order = np.empty(levels.size, np.int32)
    for pixel in range(levels.size):
        slot = 255 - levels[pixel]
        order[filled[slot]] = pixel
        filled[slot] += 1
    return order, starts


@numba.njit(cache=True, nogil=True)
def add_pixels(
    added: np.ndarray, width: int, masks: np.ndarray, weights: np.ndarray, parents: np.ndarray, traits: np.ndarray
) -> None:
    """Add pixels after all that come before them, and unite the components that each one touches.

    ``traits`` (P, 6) int32 holds a root's size, its first pixel in raster order and its half-open box.
    """
    steps = ROW_STEPS * width + COLUMN_STEPS
    for index in range(added.size):
        pixel = added[index]
        mask = masks[pixel]
        x, y = pixel % width, pixel // width
        if mask == 0:
            root = pixel
            traits[root, SIZE], traits[root, FIRST] = 0, pixel
            traits[root, X0], traits[root, Y0], traits[root, X1], traits[root, Y1] = x, y, x, y
        else:
            root = find_root(parents, pixel + steps[REPRESENTATIVES[mask, 0]])
            for group in range(1, 4):
                if REPRESENTATIVES[mask, group] < 0:
                    break
                other = find_root(parents, pixel + steps[REPRESENTATIVES[mask, group]])
                if other != root:
                    root = _unite(root, other, parents, traits)
        parents[pixel] = root
        traits[root, SIZE] += weights[mask]
        if AT_EDGE[mask]:
            traits[root, FIRST] = min(traits[root, FIRST], pixel)
            traits[root, X0], traits[root, Y0] = min(traits[root, X0], x), min(traits[root, Y0], y)
            traits[root, X1], traits[root, Y1] = max(traits[root, X1], x + 1), max(traits[root, Y1], y + 1)


@numba.njit(cache=True, nogil=True)
def _unite(first: int, second: int, parents: np.ndarray, traits: np.ndarray) -> int:
    """Unite two roots under that of the greater size, and return it."""
    if traits[second, SIZE] > traits[first, SIZE]:
        first, second = second, first
    parents[second] = first
    traits[first, SIZE] += traits[second, SIZE]
    for side in (FIRST, X0, Y0):
        traits[first, side] = min(traits[first, side], traits[second, side])
    for side in (X1, Y1):
        traits[first, side] = max(traits[first, side], traits[second, side])
    return first


@numba.njit(cache=True, nogil=True)
def find_root(parents: np.ndarray, node: int) -> int:
    """Root of a node in a union-find forest, parents (n,); the path is compressed."""
    root = node
    while parents[root] != root:
        root = parents[root]
    while parents[node] != root:
        above = parents[node]
        parents[node] = root
        node = above
    return root


@numba.njit(cache=True, nogil=True)
def _find_leaders(
    added: np.ndarray,
    leaders: np.ndarray,
    leading: int,
    parents: np.ndarray,
    traits: np.ndarray,
    seen: np.ndarray,
    stamp: int,
) -> int:
    """Replace the leaders by the roots of the greatest size, and return how many there are.

    Only components that led before, or have just grown, can lead. ``seen`` marks the roots met in this
    call, by its ``stamp``.
    """
    greatest, kept = -1, 0
    for index in range(leading + added.size):
        root = find_root(parents, leaders[index] if index < leading else added[index - leading])
        size = traits[root, SIZE]
        if size > greatest:
            greatest, kept = size, 0
        elif size < greatest or seen[root] == stamp:
            continue
        seen[root] = stamp
        leaders[kept] = root
        kept += 1
    return kept


@numba.njit(cache=True, nogil=True)
def _first_or_last(leaders: np.ndarray, traits: np.ndarray, last: bool) -> int:
    """Of the leaders, all of one size, the root whose first pixel comes first, or last."""
    best = leaders[0]
    for leader in leaders:
        if (traits[leader, FIRST] > traits[best, FIRST]) == last:
            best = leader
    return best
