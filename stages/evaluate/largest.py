"""The largest component of a uint8 map at every cut, in one pass over the pixels.

Components of the cuts T = 254, 253, ... 0 (pixels strictly above T) only grow and merge, so one union-find over the
pixels in falling order meets them all; size is a sum over pixels, and the largest so far is all that must be kept.
"""

from typing import NamedTuple

import numba
import numpy as np

from stages.evaluate.ring import COLUMN_STEPS, REPRESENTATIVES, ROW_STEPS, ring_masks

LEVELS = 255


class Components(NamedTuple):
    """Union-find over flat pixels, and for each root its size, its first pixel in raster order and its box.

    ``parents`` and ``firsts`` (P,) int32, ``sizes`` (P,) int64, ``boxes`` (P, 4) int32 half-open.
    """

    parents: np.ndarray
    sizes: np.ndarray
    firsts: np.ndarray
    boxes: np.ndarray


@numba.njit(cache=True, nogil=True)
def largest_boxes(levels: np.ndarray, weights: np.ndarray, last_of_equals: bool) -> np.ndarray:
    """Half-open boxes (255, 4) int64 of the largest 8-connected component of ``levels > T`` at each cut T.

    Args:
        levels: (H, W) uint8.
        weights: (256,) int64, what a pixel adds to the size of its component, by its ring mask
            (:data:`stages.evaluate.ring.ONE_PIXEL` or :data:`~stages.evaluate.ring.DOUBLED_AREA`).
        last_of_equals: among equal sizes take the component whose first pixel in raster order comes last, else first.

    Returns:
        Boxes in pixels of the map; all zero where no pixel is above the cut.
    """
    pixels, width = levels.size, levels.shape[1]
    masks = ring_masks(levels).ravel()
    order, starts = raster_order(levels.ravel())
    steps = ROW_STEPS * width + COLUMN_STEPS
    found = Components(
        np.empty(pixels, np.int32),
        np.empty(pixels, np.int64),
        np.empty(pixels, np.int32),
        np.empty((pixels, 4), np.int32),
    )
    seen_at = np.full(pixels, -1, np.int32)
    leaders = np.empty(pixels, np.int32)
    leading, greatest = 0, -1
    result = np.zeros((LEVELS, 4), np.int64)
    for level in range(255, 0, -1):
        for index in range(starts[255 - level], starts[256 - level]):
            root = _add(order[index], width, masks[order[index]], weights, steps, found)
            size = found.sizes[root]
            if size > greatest:
                greatest, leading = size, 0
            if size == greatest and (leading == 0 or leaders[leading - 1] != root):
                leaders[leading] = root
                leading += 1
        leading = _distinct_roots(leaders, leading, found.parents, seen_at, level)
        if leading:
            best = _first_or_last(leaders, leading, found.firsts, last_of_equals)
            for side in range(4):
                result[level - 1, side] = found.boxes[best, side]
    return result


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
def _add(pixel: int, width: int, mask: int, weights: np.ndarray, steps: np.ndarray, found: Components) -> int:
    """Add a pixel after all that come before it, unite the components it touches, and return their root."""
    y, x = pixel // width, pixel % width
    if mask == 0:
        found.parents[pixel], found.sizes[pixel], found.firsts[pixel] = pixel, 0, pixel
        found.boxes[pixel, 0], found.boxes[pixel, 1] = x, y
        found.boxes[pixel, 2], found.boxes[pixel, 3] = x, y
        root = pixel
    else:
        root = find_root(found.parents, pixel + steps[REPRESENTATIVES[mask, 0]])
        for group in range(1, 4):
            if REPRESENTATIVES[mask, group] < 0:
                break
            other = find_root(found.parents, pixel + steps[REPRESENTATIVES[mask, group]])
            if other != root:
                root = _unite(root, other, found)
        found.parents[pixel] = root
    boxes = found.boxes
    found.sizes[root] += weights[mask]
    found.firsts[root] = min(found.firsts[root], pixel)
    boxes[root, 0], boxes[root, 1] = min(boxes[root, 0], x), min(boxes[root, 1], y)
    boxes[root, 2], boxes[root, 3] = max(boxes[root, 2], x + 1), max(boxes[root, 3], y + 1)
    return root


@numba.njit(cache=True, nogil=True)
def _unite(first: int, second: int, found: Components) -> int:
    """Unite two roots under that of the greater size, and return it."""
    boxes = found.boxes
    if found.sizes[second] > found.sizes[first]:
        first, second = second, first
    found.parents[second] = first
    found.sizes[first] += found.sizes[second]
    found.firsts[first] = min(found.firsts[first], found.firsts[second])
    boxes[first, 0], boxes[first, 1] = min(boxes[first, 0], boxes[second, 0]), min(boxes[first, 1], boxes[second, 1])
    boxes[first, 2], boxes[first, 3] = max(boxes[first, 2], boxes[second, 2]), max(boxes[first, 3], boxes[second, 3])
    return first


@numba.njit(cache=True, nogil=True)
def find_root(parents: np.ndarray, node: int) -> int:
    """Root of a node in a union-find forest; the path is compressed."""
    root = node
    while parents[root] != root:
        root = parents[root]
    while parents[node] != root:
        above = parents[node]
        parents[node] = root
        node = above
    return root


@numba.njit(cache=True, nogil=True)
def _distinct_roots(leaders: np.ndarray, leading: int, parents: np.ndarray, seen_at: np.ndarray, level: int) -> int:
    """Replace the leaders by their distinct roots, in place, and return how many there are."""
    kept = 0
    for index in range(leading):
        root = find_root(parents, leaders[index])
        if seen_at[root] != level:
            seen_at[root] = level
            leaders[kept] = root
            kept += 1
    return kept


@numba.njit(cache=True, nogil=True)
def _first_or_last(leaders: np.ndarray, leading: int, firsts: np.ndarray, last: bool) -> int:
    """Of the leaders, all of one size, the root whose first pixel comes first, or last."""
    best = leaders[0]
    for index in range(1, leading):
        if (firsts[leaders[index]] > firsts[best]) == last:
            best = leaders[index]
    return best
