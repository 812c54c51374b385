"""Five kinds of error: each made by hand, and their sum."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.scoring.error_analysis import Category, categorize, error_metrics
from stages.scoring.iou import best_iou
from stages.scoring.metrics import MetricKey, localisation
from stages.scoring.ragged import from_lists

BIG = [0.0, 0, 100, 100]
CASES: dict[Category, tuple[list[float], list[list[float]], bool]] = {
    Category.CLS: (BIG, [BIG], False),
    Category.CORRECT: (BIG, [BIG], True),
    Category.MULTI: (BIG, [[0, 0, 50, 50], [50, 50, 100, 100]], True),
    Category.PART: ([0.0, 0, 20, 20], [BIG], True),
    Category.MORE: (BIG, [[0, 0, 50, 50]], True),
    Category.OTHER: (BIG, [[200, 200, 300, 300]], True),
}


@pytest.mark.parametrize("category", CASES)
@pytest.mark.parametrize("variant", ["text", "code"])
def test_each_category(category, variant):
    """Breaks when the decision is taken in another order."""
    predicted, truth, class_correct = CASES[category]
    found = categorize(np.array([predicted]), from_lists([truth]), np.array([class_correct]), variant)
    assert found == [category]


@given(st.integers(0, 10_000), st.sampled_from(["text", "code"]))
def test_five_kinds_sum_to_the_top1_loc_error(seed, variant):
    """Breaks when categories overlap or leave an image out (images without a box included)."""
    random = np.random.default_rng(seed)
    corners = random.integers(0, 60, (30, 2, 2)).astype(float)
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1) + 1], axis=1)
    truth = from_lists([boxes[random.integers(0, 30, random.integers(0, 4))] for _ in range(30)])
    labels, ranked = random.integers(0, 3, 30), np.argsort(random.random((30, 5)), axis=1)
    categories = categorize(boxes, truth, ranked[:, 0] == labels, variant)
    localised = localisation(best_iou(boxes, truth), labels, ranked, strict=True)[MetricKey("top1_loc", 0.5)]
    np.testing.assert_array_equal(np.sum(list(error_metrics(categories).values()), axis=0), ~localised)


def test_variants_differ_where_the_best_box_is_not_the_greatest_ratio():
    """Breaks when both variants take the same box: here the best IoU and the best IoP are different boxes."""
    predicted = np.array([[0.0, 0, 30, 10]])
    truth = from_lists([[[0, 0, 14, 10], [0, 0, 100, 24]]])
    found = [categorize(predicted, truth, np.array([True]), variant)[0] for variant in ("text", "code")]
    assert found == [Category.PART, Category.MORE]
