"""What the eight neighbours of a pixel say about the component it joins: look-up tables for the sweeps.

Pixels are put in a strict total order, high first. The ring mask of a pixel has a bit for each neighbour that comes
before it; neighbours outside the map never do. Adding pixels in this order builds the 8-connected foreground
components of every cut; removing them builds the 4-connected background components. All tables have 256 entries, one a
ring mask; bits run clockwise: N, NE, E, SE, S, SW, W, NW.
"""

import numba
import numpy as np
import numpy.typing as npt

# What compiled code counts with; outside it, scalars of an array are not Python integers.
Integer = int | np.integer

ROW_STEPS = np.array([-1, -1, 0, 1, 1, 1, 0, -1])
COLUMN_STEPS = np.array([0, 1, 1, 1, 0, -1, -1, -1])
CARDINAL = (0, 2, 4, 6)
CORNERS = (1, 3, 5, 7)
LEFT, RIGHT, UPPER, LOWER, BEFORE = 0xF1, 0x1F, 0xC7, 0x7C, 0xC3


def _bit(mask: int, position: int) -> bool:
    return bool(mask >> (position % 8) & 1)


def _closed(mask: int) -> int:
    """Ring mask with each corner set whose two cardinal neighbours are: they touch diagonally, 8-connected."""
    for corner in CORNERS:
        if _bit(mask, corner - 1) and _bit(mask, corner + 1):
            mask |= 1 << corner
    return mask


def _runs(mask: int) -> list[list[int]]:
    """Runs of set bits on the ring, each clockwise."""
    if mask == 255:
        return [list(range(8))]
    starts = [position for position in range(8) if _bit(mask, position) and not _bit(mask, position - 1)]
    return [_run(mask, start) for start in starts]


def _run(mask: int, start: int) -> list[int]:
    length = next(step for step in range(1, 9) if not _bit(mask, start + step))
    return [(start + step) % 8 for step in range(length)]


def _middle(positions: list[int]) -> int:
    """The middle one: about the steepest way, so that chains of links are short."""
    return positions[len(positions) // 2]


def _representatives(mask: int) -> list[int]:
    """One earlier neighbour of each 8-connected group of earlier neighbours."""
    return [_middle([p for p in run if _bit(mask, p)]) for run in _runs(_closed(mask))]


def _background_representatives(mask: int) -> list[int]:
    """One cardinal neighbour of each 4-connected group of neighbours that do not come before the pixel."""
    groups = [[p for p in run if p in CARDINAL] for run in _runs(255 & ~_closed(mask))]
    return [_middle(group) for group in groups if group]


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
AT_EDGE = np.array([any(mask & side == 0 for side in (LEFT, RIGHT, UPPER, LOWER, BEFORE)) for mask in range(256)])
ONE_PIXEL = np.ones(256, dtype=np.int64)


@numba.njit(cache=True, nogil=True)
def ring_masks(levels: np.ndarray) -> np.ndarray:
    """Ring masks (H, W) uint8 of a uint8 map, high levels first, equal levels in raster order."""
    height, width = levels.shape
    padded = np.full((height + 2, width + 2), -1, np.int16)
    padded[1:-1, 1:-1] = levels
    masks = np.empty((height, width), np.uint8)
    for y in range(height):
        ring_row(padded[y], padded[y + 1], padded[y + 2], masks[y])
    return masks


@numba.njit(cache=True, nogil=True)
def ring_row(above: np.ndarray, here: np.ndarray, below: np.ndarray, masks: np.ndarray) -> None:
    """Ring masks (W,) of one row, from three rows (W + 2,) of keys. Byte arithmetic, so that it vectorises."""
    for x in range(masks.size):
        key = here[x + 1]
        mask = np.uint8(above[x + 1] >= key)
        mask |= np.uint8(np.uint8(above[x + 2] >= key) << np.uint8(1))
        mask |= np.uint8(np.uint8(here[x + 2] > key) << np.uint8(2))
        mask |= np.uint8(np.uint8(below[x + 2] > key) << np.uint8(3))
        mask |= np.uint8(np.uint8(below[x + 1] > key) << np.uint8(4))
        mask |= np.uint8(np.uint8(below[x] > key) << np.uint8(5))
        mask |= np.uint8(np.uint8(here[x] >= key) << np.uint8(6))
        masks[x] = mask | np.uint8(np.uint8(above[x] >= key) << np.uint8(7))
