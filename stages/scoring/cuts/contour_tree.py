"""Best IoU of any contour at every cut: a max-tree of components and its dual for holes, on the pixels that matter.

Foreground components (8-connected) grow while the cut falls; holes (4-connected background components away from the
border) grow while it rises. Each box is alive over an interval of cuts, so its IoU is computed once and folded into the
maxima of that interval. Pixels that do not matter (:mod:`stages.scoring.cuts.pixel_order`) are lazy links: to one
neighbour that comes before them in the order of the tree.
"""

from typing import NamedTuple

import numba
import numpy as np

from stages.scoring.cuts.pixel_order import BACKGROUND, FOREGROUND, PixelOrder, order_pixels
from stages.scoring.cuts.ring import BACKGROUND_REPRESENTATIVES, COLUMN_STEPS, REPRESENTATIVES, ROW_STEPS, Integer
from stages.scoring.cuts.spans import CUTS, cut_maxima, raise_span, span_table

LAZY = -1
OUTSIDE = 0


class Forest(NamedTuple):
    """Union-find over flat indices of padded pixels, and for each root its box and the cut at which it got that box.

    ``parents`` (P,) int32, ``boxes`` (P, 4) int32 half-open pixels of the map, ``births`` (P,) int32. The whole margin
    is the one node ``OUTSIDE``, whose box contains every other, so that it wins every union and never changes.
    """

    parents: np.ndarray
    boxes: np.ndarray
    births: np.ndarray


class Scores(NamedTuple):
    """Where the boxes of a tree are scored: ground truth (G, 4), the table of maxima, and the map's last indices.

    ``margin`` is how far a contour runs outside its component: 1 for the holes of the background, else 0.
    """

    truth: np.ndarray
    table: np.ndarray
    last_x: int
    last_y: int
    margin: int


def forest(height: int, width: int) -> Forest:
    """Allocate a forest for maps of height x width."""
    pixels = (height + 2) * (width + 2)
    return Forest(np.empty(pixels, np.int32), np.empty((pixels, 4), np.int32), np.empty(pixels, np.int32))


@numba.njit(cache=True, nogil=True)
def best_iou_of_contours(
    levels: np.ndarray, sums: np.ndarray, truth: np.ndarray, order: PixelOrder, trees: Forest
) -> np.ndarray:
    """Best IoU (255,) float64 of all contours' boxes with any ground-truth box at each cut T.

    Args:
        levels: (H, W) uint8 map; foreground is ``levels > T``.
        sums: (H, W) uint16, sums over 7 x 7 neighbourhoods; they order pixels, any values give the same result.
        truth: (G, 4) float64 half-open boxes.
        order: buffers for this size.
        trees: buffers for this size.
    """
    height, width = levels.shape
    pixels = order_pixels(levels, sums, order)
    table = span_table()
    top = np.int64(order.keys.ravel()[pixels[0]] >> 8)
    if top < CUTS:
        raise_span(table, top, CUTS - 1, _best(0, 0, 1, 1, truth))
    _grow(pixels, order, trees, Scores(truth, table, width - 1, height - 1, 0))
    _grow(pixels[::-1], order, trees, Scores(truth, table, width - 1, height - 1, 1))
    return cut_maxima(table)


@numba.njit(cache=True, nogil=True)
def _grow(pixels: np.ndarray, order: PixelOrder, trees: Forest, scores: Scores) -> None:
    """Build one tree, pixel after pixel, and score every box it passes through."""
    keys, masks, kinds = order.keys.ravel(), order.masks.ravel(), order.kinds.ravel()
    stride = order.keys.shape[1]
    background = scores.margin == 1
    kind = BACKGROUND if background else FOREGROUND
    representatives = BACKGROUND_REPRESENTATIVES if background else REPRESENTATIVES
    steps = ROW_STEPS * stride + COLUMN_STEPS
    lazy_steps = steps[representatives[:, 0]]
    _reset(trees, order.keys.shape)
    for pixel in pixels:
        cut = np.int64(keys[pixel] >> 8) - (not background)
        if cut < 0 or cut >= CUTS:
            break
        if not kinds[pixel] & kind:
            continue
        root: Integer = -1
        for group in range(4):
            position = representatives[masks[pixel], group]
            if position < 0:
                break
            other = _find(trees.parents, pixel + steps[position], masks, lazy_steps)
            root = other if root < 0 or root == other else _unite(root, other, cut, trees, scores)
        _add(pixel, stride, root, cut, trees, scores)
    for pixel in pixels:
        if trees.parents[pixel] == pixel:
            _settle(pixel, CUTS if background else -1, trees, scores)


@numba.njit(cache=True, nogil=True)
def _reset(trees: Forest, shape: tuple[int, int]) -> None:
    height, stride = shape
    parents = trees.parents
    parents[:] = LAZY
    parents[:stride] = OUTSIDE
    parents[(height - 1) * stride :] = OUTSIDE
    for y in range(1, height - 1):
        parents[y * stride] = OUTSIDE
        parents[(y + 1) * stride - 1] = OUTSIDE
    box = trees.boxes[OUTSIDE]
    box[0], box[1], box[2], box[3] = -1, -1, stride, height


@numba.njit(cache=True, nogil=True, inline="always")
def _find(parents: np.ndarray, pixel: Integer, masks: np.ndarray, lazy_steps: np.ndarray) -> Integer:
    """Root of a pixel; lazy pixels link by their ring mask. The path is compressed."""
    root = pixel
    while True:
        parent = parents[root]
        if parent == LAZY:
            root += lazy_steps[masks[root]]
        elif parent == root:
            break
        else:
            root = parent
    while pixel != root:
        parent = parents[pixel]
        parents[pixel] = root
        pixel = pixel + lazy_steps[masks[pixel]] if parent == LAZY else parent
    return root


@numba.njit(cache=True, nogil=True, inline="always")
def _unite(first: Integer, second: Integer, cut: Integer, trees: Forest, scores: Scores) -> Integer:
    """Unite two roots; the one with the greater box stays root, and stays unscored if its box does not change."""
    boxes = trees.boxes
    if _contains(boxes, second, first):
        first, second = second, first
    _settle(second, cut, trees, scores)
    if not _contains(boxes, first, second):
        _settle(first, cut, trees, scores)
        _widen(boxes, first, boxes[second, 0], boxes[second, 1], boxes[second, 2], boxes[second, 3])
    trees.parents[second] = first
    return first


@numba.njit(cache=True, nogil=True, inline="always")
def _contains(boxes: np.ndarray, outer: Integer, inner: Integer) -> bool:
    low = boxes[outer, 0] <= boxes[inner, 0] and boxes[outer, 1] <= boxes[inner, 1]
    return low and boxes[outer, 2] >= boxes[inner, 2] and boxes[outer, 3] >= boxes[inner, 3]


@numba.njit(cache=True, nogil=True, inline="always")
def _widen(boxes: np.ndarray, root: Integer, x0: Integer, y0: Integer, x1: Integer, y1: Integer) -> None:
    boxes[root, 0], boxes[root, 1] = min(boxes[root, 0], x0), min(boxes[root, 1], y0)
    boxes[root, 2], boxes[root, 3] = max(boxes[root, 2], x1), max(boxes[root, 3], y1)


@numba.njit(cache=True, nogil=True, inline="always")
def _add(pixel: Integer, stride: Integer, root: Integer, cut: Integer, trees: Forest, scores: Scores) -> None:
    """Add a pixel to the component it touches, or start one where it touches none (root < 0)."""
    boxes = trees.boxes
    y, x = pixel // stride - 1, pixel % stride - 1
    if root < 0:
        boxes[pixel, 0], boxes[pixel, 1], boxes[pixel, 2], boxes[pixel, 3] = x, y, x + 1, y + 1
        trees.parents[pixel] = pixel
        trees.births[pixel] = cut
        return
    trees.parents[pixel] = root
    if x < boxes[root, 0] or y < boxes[root, 1] or x >= boxes[root, 2] or y >= boxes[root, 3]:
        _settle(root, cut, trees, scores)
        _widen(boxes, root, x, y, x + 1, y + 1)


@numba.njit(cache=True, nogil=True, inline="always")
def _settle(root: Integer, cut: Integer, trees: Forest, scores: Scores) -> None:
    """Score the box of a root that changes at ``cut``, over the cuts from its birth to the one before."""
    birth = trees.births[root]
    trees.births[root] = cut
    if birth == cut:
        return
    low, high = (birth, cut - 1) if birth < cut else (cut + 1, birth)
    boxes, margin = trees.boxes, scores.margin
    x0, y0 = boxes[root, 0] - margin, boxes[root, 1] - margin
    x1, y1 = min(boxes[root, 2] + margin, scores.last_x) + 1, min(boxes[root, 3] + margin, scores.last_y) + 1
    raise_span(scores.table, low, high, _best(x0, y0, x1, y1, scores.truth))


@numba.njit(cache=True, nogil=True)
def _best(x0: Integer, y0: Integer, x1: Integer, y1: Integer, truth: np.ndarray) -> float:
    """Best IoU of a half-open box with any ground-truth box (G, 4)."""
    best = 0.0
    for index in range(truth.shape[0]):
        width = min(x1, truth[index, 2]) - max(x0, truth[index, 0])
        height = min(y1, truth[index, 3]) - max(y0, truth[index, 1])
        if width > 0 and height > 0:
            shared = width * height
            own = (truth[index, 2] - truth[index, 0]) * (truth[index, 3] - truth[index, 1])
            best = max(best, shared / ((x1 - x0) * (y1 - y0) + own - shared))
    return best
