"""Grey-scale hole filling, by flooding from the border."""

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def fill_holes(levels: np.ndarray) -> np.ndarray:
    """Fill the holes of every cut of a uint8 map (H, W) at once; returns uint8 (H, W).

    A pixel takes the lowest level at which a 4-connected path leads out of the map: the cut T of the result is the cut
    T of the map with its 4-connected background components that do not reach the border filled.
    """
    height, width = levels.shape
    filled = levels.copy()
    reached = np.zeros((height, width), np.bool_)
    heads = np.full(256, -1, np.int32)
    following = np.empty(height * width, np.int32)
    for y in range(height):
        step = 1 if y in (0, height - 1) else max(width - 1, 1)
        for x in range(0, width, step):
            reached[y, x] = True
            following[y * width + x] = heads[levels[y, x]]
            heads[levels[y, x]] = y * width + x
    for level in range(256):
        while heads[level] >= 0:
            pixel = heads[level]
            heads[level] = following[pixel]
            for step_y, step_x in ((-1, 0), (0, 1), (1, 0), (0, -1)):
                y, x = pixel // width + step_y, pixel % width + step_x
                if 0 <= y < height and 0 <= x < width and not reached[y, x]:
                    reached[y, x] = True
                    filled[y, x] = max(levels[y, x], np.uint8(level))
                    following[y * width + x] = heads[filled[y, x]]
                    heads[filled[y, x]] = y * width + x
    return filled
