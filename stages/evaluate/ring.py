"""What the eight neighbours of a pixel say about the component it joins: look-up tables for the sweeps.

Pixels are put in a strict total order, high first. The ring mask of a pixel has a bit for each neighbour that comes
before it; neighbours outside the map never do. Adding pixels in this order builds the 8-connected foreground
components of every cut; removing them builds the 4-connected background components. All tables have 256 entries, one a
ring mask; bits run clockwise: N, NE, E, SE, S, SW, W, NW.
"""

import numba
import numpy as np
import numpy.typing as npt

ROW_STEPS = np.array([-1, -1, 0, 1, 1, 1, 0, -1])
COLUMN_STEPS = np.array([0, 1, 1, 1, 0, -1, -1, -1])
CARDINAL = (0, 2, 4, 6)
CORNERS = (1, 3, 5, 7)


def _bit(mask: int, position: int) -> bool:
    return bool(mask >> (position % 8) & 1)


def _closed(mask: int) -> int:
    """Ring mask with each corner set whose two cardinal neighbours are: they touch diagonally, 8-connected."""
    for corner in CORNERS:
        if _bit(mask, corner - 1) and _bit(mask, corner + 1):
            mask |= 1 << corner
    return mask


def _run_starts(mask: int) -> list[int]:
    """First positions of the runs of set bits on the ring."""
    if mask == 255:
        return [0]
    return [position for position in range(8) if _bit(mask, position) and not _bit(mask, position - 1)]


def _representatives(mask: int) -> list[int]:
    """One earlier neighbour of each 8-connected group of earlier neighbours."""
    closed = _closed(mask)
    found = []
    for start in _run_starts(closed):
        run = (start + step for step in range(8))
        found.append(next(position % 8 for position in run if _bit(mask, position)))
    return found


def _background_representatives(mask: int) -> list[int]:
    """One cardinal neighbour of each 4-connected group of cardinal neighbours that do not come before the pixel."""
    later = [not _bit(mask, position) for position in range(8)]
    starts = [p for p in CARDINAL if later[p] and not (later[p - 1] and later[p - 2])]
    return starts or [p for p in CARDINAL if later[p]][:1]


def _doubled_area(mask: int) -> int:
    """Twice the polygon area a pixel adds: a half for each 2 x 2 window where two or three others are present."""
    windows = [(corner - 1, corner, corner + 1) for corner in CORNERS]
    return sum(sum(_bit(mask, position) for position in window) >= 2 for window in windows)


def _table(rows: list[list[int]], width: int) -> npt.NDArray[np.int8]:
    table = np.full((256, width), -1, dtype=np.int8)
    for mask, row in enumerate(rows):
        table[mask, : len(row)] = row
    return table


REPRESENTATIVES = _table([_representatives(mask) for mask in range(256)], 4)
BACKGROUND_REPRESENTATIVES = _table([_background_representatives(mask) for mask in range(256)], 4)
DOUBLED_AREA = np.array([_doubled_area(mask) for mask in range(256)], dtype=np.int64)
ONE_PIXEL = np.ones(256, dtype=np.int64)


@numba.njit(cache=True, nogil=True)
def ring_masks(keys: np.ndarray) -> np.ndarray:
    """Ring masks (H, W) uint8 of keys (H, W), high keys first, equal keys in raster order."""
    height, width = keys.shape
    padded = np.full((height + 2, width + 2), -1, np.int32)
    padded[1:-1, 1:-1] = keys
    masks = np.empty((height, width), np.uint8)
    for y in range(height):
        above, here, below = padded[y], padded[y + 1], padded[y + 2]
        for x in range(width):
            key = here[x + 1]
            mask = np.int32(above[x + 1] >= key) | np.int32(above[x + 2] >= key) << 1
            mask |= np.int32(here[x + 2] > key) << 2 | np.int32(below[x + 2] > key) << 3
            mask |= np.int32(below[x + 1] > key) << 4 | np.int32(below[x] > key) << 5
            mask |= np.int32(here[x] >= key) << 6 | np.int32(above[x] >= key) << 7
            masks[y, x] = mask
    return masks


@numba.njit(cache=True, nogil=True)
def raster_order(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (H * W,) of a uint8 map by level, high first, in raster order within; and the start of each level.

    The pixels of level g are ``order[starts[255 - g]:starts[256 - g]]``.
    """
    flat = levels.ravel()
    starts = np.zeros(257, np.int64)
    for level in flat:
        starts[256 - level] += 1
    for index in range(256):
        starts[index + 1] += starts[index]
    filled = starts.copy()
    order = np.empty(flat.size, np.int32)
    for pixel in range(flat.size):
        slot = 255 - flat[pixel]
        order[filled[slot]] = pixel
        filled[slot] += 1
    return order, starts


@numba.njit(cache=True, nogil=True)
def find_root(parents: np.ndarray, node: int) -> int:
    """Root of a node in a union-find forest; the path is compressed."""
    root = node
    while parents[root] != root:
        root = parents[root]
    while parents[node] != root:
        parents[node], node = root, parents[node]
    return root
