"""Best IoU of any contour at every cut: a max-tree of components and its dual for holes, on the pixels that matter.

Foreground components (8-connected) grow while the cut falls; holes (4-connected background components away from the
border) grow while it rises. Each box is alive over an interval of cuts, so its IoU is computed once and folded into the
maximum over that interval. A pixel matters only where its ring (:mod:`stages.evaluate.ring`) shows an extremum, a
saddle, or a side on which it may widen the box; every other pixel is a lazy link to one neighbour that comes before it.

Which pixels matter depends on the order inside a grey level, the result does not: a local mean breaks the ties, so that
components grow compactly.
"""

from typing import NamedTuple

import numba
import numpy as np

from stages.evaluate.ring import BACKGROUND_REPRESENTATIVES, COLUMN_STEPS, REPRESENTATIVES, ROW_STEPS

CUTS = 255
FOREGROUND, BACKGROUND = 1, 2
LAZY = -1
OUTSIDE = 0


class Canvas(NamedTuple):
    """Buffers for maps of one size (H, W), reused from map to map; all but ``kinds`` have a margin of one pixel.

    ``keys`` uint16: the strict order, 0 in the margin; ``masks`` uint8: ring masks; ``kinds`` uint8: whether the pixel
    matters to the foreground or the background tree; ``parents`` int32, ``boxes`` (., 4) int32 half-open and
    ``births`` int32: the union-find forest by flat index, the box of a root and the cut at which it came to be.
    """

    keys: np.ndarray
    masks: np.ndarray
    kinds: np.ndarray
    parents: np.ndarray
    boxes: np.ndarray
    births: np.ndarray


def canvas(height: int, width: int) -> Canvas:
    """Allocate the buffers for maps of height x width."""
    padded = (height + 2) * (width + 2)
    return Canvas(
        np.zeros((height + 2, width + 2), np.uint16),
        np.zeros((height + 2, width + 2), np.uint8),
        np.zeros((height + 2, width + 2), np.uint8),
        np.empty(padded, np.int32),
        np.empty((padded, 4), np.int32),
        np.empty(padded, np.int32),
    )


@numba.njit(cache=True, nogil=True)
def sweep_all(levels: np.ndarray, means: np.ndarray, truth: np.ndarray, room: Canvas) -> np.ndarray:
    """Best IoU (255,) float64 of all contours' boxes with any ground-truth box at each cut T.

    Args:
        levels: (H, W) uint8 map; foreground is ``levels > T``.
        means: (H, W) uint8, breaks ties inside a level; any values give the same result.
        truth: (G, 4) float64 half-open boxes, at least one.
        room: buffers of :func:`canvas` for this size.
    """
    nodes = _order(levels, means, room)
    table = np.zeros((8, CUTS + 1))
    top = 0
    if len(nodes):
        top = np.int64(room.keys.ravel()[nodes[0]] >> 8)
    if top < CUTS:
        _fold(table, top, CUTS - 1, _best(np.float64(0), np.float64(0), np.float64(1), np.float64(1), truth))
    _grow_components(nodes, truth, table, room)
    _grow_holes(nodes, truth, table, room)
    return _unfold(table)


@numba.njit(cache=True, nogil=True)
def _order(levels, means, room):  # type: ignore[no-untyped-def]
    """Fill keys, masks and kinds, and return the flat indices of the pixels that matter, first to last."""
    height, width = levels.shape
    for y in range(height):
        row = room.keys[y + 1]
        for x in range(width):
            row[x + 1] = max(np.uint16(np.uint16(levels[y, x]) << np.uint16(8) | np.uint16(means[y, x])), np.uint16(1))
    total = _classify(room.keys, room.masks, room.kinds)
    kinds = room.kinds.ravel()
    nodes = np.empty(total, np.int32)
    found = 0
    words = kinds[: kinds.size // 8 * 8].view(np.uint64)
    for word in range(words.size):
        if words[word]:
            for pixel in range(8 * word, 8 * word + 8):
                if kinds[pixel]:
                    nodes[found] = pixel
                    found += 1
    for pixel in range(words.size * 8, kinds.size):
        if kinds[pixel]:
            nodes[found] = pixel
            found += 1
    return _sorted_by_key(nodes, room.keys.ravel())


@numba.njit(cache=True, nogil=True)
def _classify(keys, masks, kinds):  # type: ignore[no-untyped-def]
    """Ring masks, and which pixels matter; returns how many. Byte arithmetic throughout, so that it vectorises."""
    total = 0
    for y in range(1, keys.shape[0] - 1):
        above, here, below = keys[y - 1], keys[y], keys[y + 1]
        mask_row, kind_row = masks[y], kinds[y]
        for x in range(1, keys.shape[1] - 1):
            key = here[x]
            mask = np.uint8(above[x] >= key)
            mask |= np.uint8(np.uint8(above[x + 1] >= key) << np.uint8(1))
            mask |= np.uint8(np.uint8(here[x + 1] > key) << np.uint8(2))
            mask |= np.uint8(np.uint8(below[x + 1] > key) << np.uint8(3))
            mask |= np.uint8(np.uint8(below[x] > key) << np.uint8(4))
            mask |= np.uint8(np.uint8(below[x - 1] > key) << np.uint8(5))
            mask |= np.uint8(np.uint8(here[x - 1] >= key) << np.uint8(6))
            mask |= np.uint8(np.uint8(above[x - 1] >= key) << np.uint8(7))
            mask_row[x] = mask
            left, right = np.uint8(mask << np.uint8(1)), np.uint8(mask >> np.uint8(1))
            turned_left = np.uint8(left | np.uint8(mask >> np.uint8(7)))
            turned_right = np.uint8(right | np.uint8(mask << np.uint8(7)))
            closed = np.uint8(mask | np.uint8(turned_left & turned_right & np.uint8(0xAA)))
            starts = np.uint8(closed & ~np.uint8(np.uint8(closed << np.uint8(1)) | np.uint8(closed >> np.uint8(7))))
            saddle = np.uint8(starts & np.uint8(starts - np.uint8(1))) != 0
            widens = np.uint8(mask & np.uint8(0xF1)) == 0
            widens |= np.uint8(mask & np.uint8(0x1F)) == 0
            widens |= np.uint8(mask & np.uint8(0xC7)) == 0
            widens |= np.uint8(mask & np.uint8(0x7C)) == 0
            later = np.uint8(~mask & np.uint8(0x55))
            shrinks = np.uint8(later & np.uint8(later - np.uint8(1))) == 0
            kind = np.uint8(np.uint8(saddle | widens) | np.uint8(np.uint8(saddle | shrinks) << np.uint8(1)))
            kind_row[x] = kind
            total += kind != 0
    return total


@numba.njit(cache=True, nogil=True)
def _sorted_by_key(nodes, keys):  # type: ignore[no-untyped-def]
    """Radix sort of flat indices by key, high first; equal keys keep their order."""
    for shift in (0, 8):
        starts = np.zeros(257, np.int64)
        for node in nodes:
            starts[256 - (keys[node] >> shift & 255)] += 1
        for index in range(256):
            starts[index + 1] += starts[index]
        result = np.empty_like(nodes)
        for node in nodes:
            slot = 255 - (keys[node] >> shift & 255)
            result[starts[slot]] = node
            starts[slot] += 1
        nodes = result
    return nodes


@numba.njit(cache=True, nogil=True)
def _grow_components(nodes, truth, table, room):  # type: ignore[no-untyped-def]
    """Fold the boxes of all foreground components: nodes first to last, cuts falling."""
    keys, masks, kinds = room.keys.ravel(), room.masks.ravel(), room.kinds.ravel()
    stride, far = room.keys.shape[1], np.array([room.keys.shape[1] - 3, room.keys.shape[0] - 3])
    steps = ROW_STEPS * stride + COLUMN_STEPS
    lazy_steps = steps[REPRESENTATIVES[:, 0]]
    room.parents[:] = LAZY
    for node in nodes:
        if not kinds[node] & FOREGROUND:
            continue
        cut = np.int64(keys[node] >> 8) - 1
        if cut < 0:
            break
        root = -1
        for position in REPRESENTATIVES[masks[node]]:
            if position < 0:
                break
            other = _find(room.parents, node + steps[position], masks, lazy_steps)
            if root < 0:
                root = other
            elif other != root:
                if _contains(room.boxes[other], room.boxes[root]):
                    root, other = other, root
                _flush_component(other, cut, truth, table, room, far)
                if not _contains(room.boxes[root], room.boxes[other]):
                    _flush_component(root, cut, truth, table, room, far)
                    _widen(room.boxes[root], room.boxes[other])
                room.parents[other] = root
        y, x = node // stride - 1, node % stride - 1
        if root < 0:
            _start(node, x, y, cut, room)
            continue
        room.parents[node] = root
        box = room.boxes[root]
        if x < box[0] or y < box[1] or x >= box[2] or y >= box[3]:
            _flush_component(root, cut, truth, table, room, far)
            box[0], box[1], box[2], box[3] = min(box[0], x), min(box[1], y), max(box[2], x + 1), max(box[3], y + 1)
    for node in nodes:
        if room.parents[node] == node:
            _flush_component(node, -1, truth, table, room, far)


@numba.njit(cache=True, nogil=True)
def _grow_holes(nodes, truth, table, room):  # type: ignore[no-untyped-def]
    """Fold the boxes of all holes: nodes last to first, cuts rising. The margin is one background component."""
    keys, masks, kinds = room.keys.ravel(), room.masks.ravel(), room.kinds.ravel()
    height, stride = room.keys.shape
    far = np.array([stride - 3, height - 3])
    steps = ROW_STEPS * stride + COLUMN_STEPS
    lazy_steps = steps[BACKGROUND_REPRESENTATIVES[:, 0]]
    parents = room.parents
    parents[:] = LAZY
    parents[:stride] = OUTSIDE
    parents[(height - 1) * stride :] = OUTSIDE
    for y in range(1, height - 1):
        parents[y * stride] = OUTSIDE
        parents[y * stride + stride - 1] = OUTSIDE
    for node in nodes[::-1]:
        if not kinds[node] & BACKGROUND:
            continue
        cut = np.int64(keys[node] >> 8)
        if cut >= CUTS:
            break
        root = -1
        for position in BACKGROUND_REPRESENTATIVES[masks[node]]:
            if position < 0:
                break
            other = _find(parents, node + steps[position], masks, lazy_steps)
            if root < 0:
                root = other
            elif other != root:
                if other == OUTSIDE or (root != OUTSIDE and _contains(room.boxes[other], room.boxes[root])):
                    root, other = other, root
                _flush_hole(other, cut, truth, table, room, far)
                if root != OUTSIDE and not _contains(room.boxes[root], room.boxes[other]):
                    _flush_hole(root, cut, truth, table, room, far)
                    _widen(room.boxes[root], room.boxes[other])
                parents[other] = root
        y, x = node // stride - 1, node % stride - 1
        if root < 0:
            _start(node, x, y, cut, room)
            continue
        parents[node] = root
        box = room.boxes[root]
        if root != OUTSIDE and (x < box[0] or y < box[1] or x >= box[2] or y >= box[3]):
            _flush_hole(root, cut, truth, table, room, far)
            box[0], box[1], box[2], box[3] = min(box[0], x), min(box[1], y), max(box[2], x + 1), max(box[3], y + 1)
    for node in nodes:
        if parents[node] == node:
            _flush_hole(node, CUTS, truth, table, room, far)


@numba.njit(cache=True, nogil=True)
def _find(parents, node, masks, lazy_steps):  # type: ignore[no-untyped-def]
    """Root of a pixel; a pixel that never mattered is linked by its ring mask. The path is compressed."""
    root = node
    while True:
        parent = parents[root]
        if parent == LAZY:
            root += lazy_steps[masks[root]]
        elif parent == root:
            break
        else:
            root = parent
    while node != root:
        parent = parents[node]
        if parent == LAZY:
            parent = node + lazy_steps[masks[node]]
        parents[node] = root
        node = parent
    return root


@numba.njit(cache=True, nogil=True)
def _start(node, x, y, cut, room):  # type: ignore[no-untyped-def]
    room.parents[node] = node
    room.births[node] = cut
    box = room.boxes[node]
    box[0], box[1], box[2], box[3] = x, y, x + 1, y + 1


@numba.njit(cache=True, nogil=True)
def _contains(outer, inner):  # type: ignore[no-untyped-def]
    return outer[0] <= inner[0] and outer[1] <= inner[1] and outer[2] >= inner[2] and outer[3] >= inner[3]


@numba.njit(cache=True, nogil=True)
def _widen(box, other):  # type: ignore[no-untyped-def]
    box[0], box[1] = min(box[0], other[0]), min(box[1], other[1])
    box[2], box[3] = max(box[2], other[2]), max(box[3], other[3])


@numba.njit(cache=True, nogil=True)
def _flush_component(root, cut, truth, table, room, far):  # type: ignore[no-untyped-def]
    """Fold the box of a component that changes at ``cut``, over the cuts above at which it was alive."""
    birth = room.births[root]
    if birth > cut:
        box = room.boxes[root]
        iou = _best(box[0], box[1], min(box[2], far[0]) + 1, min(box[3], far[1]) + 1, truth)
        _fold(table, cut + 1, birth, iou)
    room.births[root] = cut


@numba.njit(cache=True, nogil=True)
def _flush_hole(root, cut, truth, table, room, far):  # type: ignore[no-untyped-def]
    """Fold the box of a hole that changes at ``cut``, over the cuts below; its contour runs one pixel outside it."""
    birth = room.births[root]
    if birth < cut:
        box = room.boxes[root]
        iou = _best(box[0] - 1, box[1] - 1, min(box[2] + 1, far[0]) + 1, min(box[3] + 1, far[1]) + 1, truth)
        _fold(table, birth, cut - 1, iou)
    room.births[root] = cut


@numba.njit(cache=True, nogil=True)
def _best(x0, y0, x1, y1, truth):  # type: ignore[no-untyped-def]
    """Best IoU of a half-open box with any ground-truth box."""
    best = 0.0
    for index in range(truth.shape[0]):
        width = min(x1, truth[index, 2]) - max(x0, truth[index, 0])
        height = min(y1, truth[index, 3]) - max(y0, truth[index, 1])
        if width > 0 and height > 0:
            shared = width * height
            own = (truth[index, 2] - truth[index, 0]) * (truth[index, 3] - truth[index, 1])
            best = max(best, shared / ((x1 - x0) * (y1 - y0) + own - shared))
    return best


@numba.njit(cache=True, nogil=True)
def _fold(table, low, high, value):  # type: ignore[no-untyped-def]
    """Raise the maxima of cuts low..high to ``value``: two overlapping power-of-two spans."""
    span = 0
    while 2 << span <= high - low + 1:
        span += 1
    table[span, low] = max(table[span, low], value)
    second = high + 1 - (1 << span)
    table[span, second] = max(table[span, second], value)


@numba.njit(cache=True, nogil=True)
def _unfold(table):  # type: ignore[no-untyped-def]
    """Push the maxima of spans down to single cuts, (255,)."""
    for span in range(7, 0, -1):
        half = 1 << (span - 1)
        for low in range(CUTS + 1 - 2 * half):
            value = table[span, low]
            table[span - 1, low] = max(table[span - 1, low], value)
            table[span - 1, low + half] = max(table[span - 1, low + half], value)
    return table[0, :CUTS].copy()
