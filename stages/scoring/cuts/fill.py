"""Grey-scale hole filling, by flooding from the border."""

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def fill_holes(levels: np.ndarray) -> np.ndarray:
    """Fill the holes of every cut of a uint8 map (H, W) at once; returns uint8 (H, W).

    A pixel takes the lowest level at which a 4-connected path leads out of the map: the cut T of the result is the cut
    T of the map with its 4-connected background components that do not reach the border filled.

    The flood starts on a margin of level 0 around the map and goes level by level; the pixels reached at a level are a
    linked list.
    """
    height, width = levels.shape
    stride = width + 2
    filled = np.zeros((height + 2, stride), np.uint8)
    filled[1:-1, 1:-1] = levels
    dry = np.zeros((height + 2, stride), np.bool_)
    dry[1:-1, 1:-1] = True
    flat, flat_dry = filled.ravel(), dry.ravel()
    heads = np.full(256, -1, np.int32)
    following = np.empty(flat.size, np.int32)
    for pixel in range(flat.size):
        if not flat_dry[pixel]:
            following[pixel] = heads[0]
            heads[0] = pixel
    for level in range(256):
        while heads[level] >= 0:
            pixel = heads[level]
            heads[level] = following[pixel]
            for step in (-stride, 1, stride, -1):
                neighbour = pixel + step
                if 0 <= neighbour < flat.size and flat_dry[neighbour]:
                    flat_dry[neighbour] = False
                    reached = max(flat[neighbour], np.uint8(level))
                    flat[neighbour] = reached
                    following[neighbour] = heads[reached]
                    heads[reached] = neighbour
    return filled[1:-1, 1:-1].copy()
