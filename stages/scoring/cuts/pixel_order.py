"""A strict order of the pixels of a map, and which of them matter to its component trees.

Equal levels are put in order by how far a local mean lies above the level, so that components grow compactly and few
pixels matter; the trees at whole levels do not depend on that order. Arrays have a margin of one pixel, of key 0, and
pixels are named by flat index.
"""

from typing import NamedTuple

import numba
import numpy as np

from stages.scoring.cuts.ring import LEFT, LOWER, RIGHT, UPPER, ring_row

MEAN_SIDE = 7
FOREGROUND, BACKGROUND = 1, 2
CORNER_BITS, CARDINAL_BITS = 0xAA, 0x55


class PixelOrder(NamedTuple):
    """Buffers (H + 2, W + 2) for maps of one size, reused from map to map.

    ``keys`` uint16: level and tie-break, high first, equal keys in raster order; ``masks`` uint8: ring masks
    (:mod:`stages.scoring.cuts.ring`); ``kinds`` uint8: bits for the trees a pixel matters to.
    """

    keys: np.ndarray
    masks: np.ndarray
    kinds: np.ndarray


def pixel_order(height: int, width: int) -> PixelOrder:
    """Allocate the buffers for maps of height x width."""
    shape = (height + 2, width + 2)
    return PixelOrder(np.zeros(shape, np.uint16), np.zeros(shape, np.uint8), np.zeros(shape, np.uint8))


@numba.njit(cache=True, nogil=True)
def order_pixels(levels: np.ndarray, sums: np.ndarray, order: PixelOrder) -> np.ndarray:
    """Fill the buffers and return the pixels that matter, flat indices int32, first to last.

    ``levels`` (H, W) uint8 map; ``sums`` (H, W) uint16, sums over 7 x 7 neighbourhoods.
    """
    area = MEAN_SIDE * MEAN_SIDE
    for y in range(levels.shape[0]):
        row = order.keys[y + 1]
        for x in range(levels.shape[1]):
            level = int(np.int32(levels[y, x]))
            above = int(np.int32(sums[y, x])) - area * level + 128
            row[x + 1] = max(256 * level + min(max(above, 0), 255), 1)
    total = _classify(order.keys, order.masks, order.kinds)
    return _sorted_by_key(_nonzero(order.kinds.ravel(), total), order.keys.ravel())


@numba.njit(cache=True, nogil=True)
def _classify(keys: np.ndarray, masks: np.ndarray, kinds: np.ndarray) -> int:
    """Fill ring masks and kinds; return how many pixels matter."""
    total = 0
    for y in range(1, keys.shape[0] - 1):
        masks_row, kinds_row = masks[y, 1:-1], kinds[y, 1:-1]
        ring_row(keys[y - 1], keys[y], keys[y + 1], masks_row)
        for x in range(masks_row.size):
            kind = _kind(masks_row[x])
            kinds_row[x] = kind
            total += kind != 0
    return total


@numba.njit(cache=True, nogil=True)
def _kind(mask: np.uint8) -> np.uint8:
    """Whether a pixel matters to the foreground tree, the background tree, or both, by its ring mask.

    It does when it is an extremum, touches several groups (a saddle, the same ones for both trees), or lies beyond all
    it touches on some side, where it may widen a box. Byte arithmetic throughout, so that it vectorises.
    """
    before = np.uint8(np.uint8(mask << np.uint8(1)) | np.uint8(mask >> np.uint8(7)))
    after = np.uint8(np.uint8(mask >> np.uint8(1)) | np.uint8(mask << np.uint8(7)))
    closed = np.uint8(mask | np.uint8(before & after & np.uint8(CORNER_BITS)))
    previous = np.uint8(np.uint8(closed << np.uint8(1)) | np.uint8(closed >> np.uint8(7)))
    starts = np.uint8(closed & ~previous)
    saddle = np.uint8(starts & np.uint8(starts - np.uint8(1))) != 0
    foreground = saddle | (np.uint8(mask & np.uint8(LEFT)) == 0)
    foreground |= np.uint8(mask & np.uint8(UPPER)) == 0
    foreground |= np.uint8(mask & np.uint8(RIGHT)) == 0
    foreground |= np.uint8(mask & np.uint8(LOWER)) == 0
    later = np.uint8(~mask & np.uint8(CARDINAL_BITS))
    background = saddle | (np.uint8(later & np.uint8(later - np.uint8(1))) == 0)
    return np.uint8(np.uint8(foreground) | np.uint8(np.uint8(background) << np.uint8(1)))


@numba.njit(cache=True, nogil=True)
def _nonzero(kinds: np.ndarray, total: int) -> np.ndarray:
    """Flat indices of the ``total`` pixels of any kind, eight pixels at a glance."""
    found = np.empty(total, np.int32)
    filled = 0
    words = kinds[: kinds.size // 8 * 8].view(np.uint64)
    for word in range(words.size + 1):
        if word == words.size or words[word]:
            for pixel in range(8 * word, min(8 * word + 8, kinds.size)):
                if kinds[pixel]:
                    found[filled] = pixel
                    filled += 1
    return found


@numba.njit(cache=True, nogil=True)
def _sorted_by_key(pixels: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Radix sort of flat indices by key, high first; equal keys keep their order."""
    for shift in (0, 8):
        starts = np.zeros(257, np.int64)
        for pixel in pixels:
            starts[256 - (keys[pixel] >> shift & 255)] += 1
        for slot in range(256):
            starts[slot + 1] += starts[slot]
        result = np.empty_like(pixels)
        for pixel in pixels:
            slot = 255 - (keys[pixel] >> shift & 255)
            result[starts[slot]] = pixel
            starts[slot] += 1
        pixels = result
    return pixels
