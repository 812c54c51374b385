"""Counts of score maps: how they are split among workers, and merged, never matters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.scoring.cuts.cut_counts import max_box_acc
from stages.scoring.mask_metrics import MaskTruth, pixel_histogram
from stages.scoring.ragged import from_lists
from stages.scoring.tally import contour_tallies, cut_counts, fixed_tallies, mask_tallies, merge, peaks, pixel_counts
from stages.vision.box_rule import BoxRule

IMAGES = 7
SIZES = np.array([[30, 40], [50, 20], [64, 64], [33, 21], [10, 90], [64, 48], [20, 20]], dtype=np.float64)
GENERATOR = np.random.default_rng(5)
MAPS = [GENERATOR.normal(size=(4 + n % 3, 5)).astype(np.float16) for n in range(IMAGES)]
BOXES = [[(2, 3, 0.6 * width, 0.7 * height)] for width, height in SIZES]
MASKS = [GENERATOR.random((int(height), int(width))) > 0.6 for width, height in SIZES]


def tallies(chosen):
    truth = from_lists([BOXES[index] for index in chosen])
    maps, sizes = [MAPS[index] for index in chosen], SIZES[list(chosen)]
    yield from fixed_tallies(maps, truth, sizes, BoxRule())
    yield from contour_tallies(maps, truth, sizes)
    yield from mask_tallies(maps, (MaskTruth([255 * MASKS[index].astype(np.uint8)]) for index in chosen))


WHOLE = merge(tallies(range(IMAGES)))


@settings(max_examples=15)
@given(st.permutations(range(IMAGES)), st.integers(0, IMAGES), st.booleans())
def test_any_split_in_any_order_gives_the_same_integers(order, cut, swapped):
    """Breaks when a count depends on its neighbours, or a float sum sneaks in."""
    parts = [merge(tallies(part)) for part in (order[:cut], order[cut:])]
    merged = merge(tally for part in parts[:: -1 if swapped else 1] for tally in part.values())
    assert merged.keys() == WHOLE.keys()
    for key, tally in merged.items():
        assert tally.images == WHOLE[key].images == IMAGES, key
        np.testing.assert_array_equal(tally.counts, WHOLE[key].counts, err_msg=str(key))


def test_images_without_a_map_are_wrong():
    """Breaks when images that a stage refused raise the accuracy of the rest."""
    all_there, one_missing = (cut_counts(WHOLE, "largest", images) for images in (IMAGES, IMAGES + 1))
    assert all_there is not None
    assert one_missing is not None
    assert max_box_acc(one_missing, 0.3) == pytest.approx(max_box_acc(all_there, 0.3) * IMAGES / (IMAGES + 1))
    assert max_box_acc(all_there, 0.3) > 0


def test_what_was_not_counted_is_none():
    """Breaks when no count reads as a count of zero."""
    assert cut_counts({}, "largest", 3) is None
    assert pixel_counts({}) is None
    assert peaks({}, "ge") is None


def test_merged_pixels_are_those_of_the_evaluator():
    """Breaks when positive and negative are swapped, or the map is not the evaluator's."""
    found = pixel_counts(WHOLE)
    assert found is not None
    assert found.positive.sum() + found.negative.sum() == IMAGES * 224 * 224
    one = merge(mask_tallies([np.eye(4)], [MaskTruth([255 * np.eye(8, dtype=np.uint8)])]))
    scores = pixel_counts(one)
    assert scores is not None
    assert scores.positive[-2:].sum() >= 1, "the diagonal is where the map is highest"
    assert scores.pxap() > pixel_histogram(np.zeros((224, 224)), np.eye(224, dtype=bool)).pxap()
