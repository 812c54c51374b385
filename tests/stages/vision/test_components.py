import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from stages.vision.components import components

mask_arrays = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.booleans())


def flood(mask):
    """An independent labelling: lists of pixels, in raster order of their first pixel."""
    left, found = {tuple(p) for p in np.argwhere(mask)}, []
    for start in map(tuple, np.argwhere(mask)):
        if start not in left:
            continue
        left.discard(start)
        stack, pixels = [start], []
        while stack:
            y, x = stack.pop()
            pixels.append((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            stack.extend(near)
        found.append(sorted(pixels))
    return found


@given(mask_arrays, st.integers(1, 4))
def test_against_flood_fill(mask, min_area):
    """4-connectivity, label order instead of raster order among equals, or an off-by-one box shows here."""
    expected = sorted((c for c in flood(mask) if len(c) >= min_area), key=len, reverse=True)
    found = components(mask, min_area)
    assert len(found) == len(expected)
    for index, pixels in enumerate(expected):
        assert [tuple(p) for p in np.argwhere(found.mask(index))] == pixels
        rows, columns = zip(*pixels, strict=True)
        box = [min(columns), min(rows), max(columns) + 1, max(rows) + 1]
        np.testing.assert_array_equal(found.box(index), box)
        assert found.areas[index] == len(pixels)


@given(mask_arrays)
def test_largest(mask):
    """The largest component is the first of all of them; an empty mask has none."""
    expected = np.zeros_like(mask)
    for y, x in max(flood(mask), key=len, default=[]):
        expected[y, x] = True
    found = components(mask)
    np.testing.assert_array_equal(found.mask(0) if len(found) else np.zeros_like(mask), expected)


def test_tie_goes_to_the_first_pixel():
    """OpenCV labels 2x2 blocks: the component in the lower row of the first block would win by label order."""
    mask = np.zeros((4, 9), dtype=bool)
    mask[1, 0] = mask[0, 7] = True
    np.testing.assert_array_equal(np.argwhere(components(mask).mask(0)), [[0, 7]])
