"""The largest component of a uint8 map at every cut, in one pass over the pixels.

Components of the cuts T = 254, 253, ... 0 (pixels strictly above T) only grow and merge, so one union-find over the
pixels in falling order meets them all; size is a sum over pixels, and the largest so far is all that must be kept.
"""

import numba
import numpy as np

from stages.evaluate.ring import COLUMN_STEPS, REPRESENTATIVES, ROW_STEPS, find_root, raster_order, ring_masks

LEVELS = 255


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
    width = levels.shape[1]
    masks = ring_masks(levels.astype(np.int32)).ravel()
    order, starts = raster_order(levels)
    parents = np.arange(levels.size).astype(np.int32)
    sizes = np.zeros(levels.size, np.int64)
    firsts = np.arange(levels.size).astype(np.int32)
    boxes = np.empty((levels.size, 4), np.int32)
    seen_at = np.full(levels.size, -1, np.int32)
    candidates = np.empty(levels.size, np.int32)
    found, greatest = 0, -1
    result = np.zeros((LEVELS, 4), np.int64)
    for level in range(255, 0, -1):
        for pixel in order[starts[255 - level] : starts[256 - level]]:
            root = _add(pixel, width, masks[pixel], weights, parents, sizes, firsts, boxes)
            if sizes[root] > greatest:
                greatest, found = sizes[root], 0
            if sizes[root] == greatest and (found == 0 or candidates[found - 1] != root):
                candidates[found] = root
                found += 1
        found = _distinct_roots(candidates, found, parents, seen_at, level)
        if found:
            best = candidates[0]
            for root in candidates[1:found]:
                if (firsts[root] > firsts[best]) == last_of_equals:
                    best = root
            result[level - 1] = boxes[best]
    return result


@numba.njit(cache=True, nogil=True)
def _add(pixel, width, mask, weights, parents, sizes, firsts, boxes):  # type: ignore[no-untyped-def]
    """Add a pixel after all that come before it, unite the components it touches, and return their root."""
    y, x = pixel // width, pixel % width
    root = pixel
    sizes[root] = weights[mask]
    boxes[root, 0], boxes[root, 1], boxes[root, 2], boxes[root, 3] = x, y, x + 1, y + 1
    for position in REPRESENTATIVES[mask]:
        if position < 0:
            break
        other = find_root(parents, pixel + ROW_STEPS[position] * width + COLUMN_STEPS[position])
        if other == root:
            continue
        if sizes[other] > sizes[root]:
            root, other = other, root
        parents[other] = root
        sizes[root] += sizes[other]
        firsts[root] = min(firsts[root], firsts[other])
        boxes[root, 0] = min(boxes[root, 0], boxes[other, 0])
        boxes[root, 1] = min(boxes[root, 1], boxes[other, 1])
        boxes[root, 2] = max(boxes[root, 2], boxes[other, 2])
        boxes[root, 3] = max(boxes[root, 3], boxes[other, 3])
    return root


@numba.njit(cache=True, nogil=True)
def _distinct_roots(candidates, found, parents, seen_at, level):  # type: ignore[no-untyped-def]
    """Replace the candidates by their distinct roots, in place, and return how many there are."""
    kept = 0
    for candidate in candidates[:found]:
        root = find_root(parents, candidate)
        if seen_at[root] != level:
            seen_at[root] = level
            candidates[kept] = root
            kept += 1
    return kept
