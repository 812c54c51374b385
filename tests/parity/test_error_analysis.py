"""SPA's five-way error analysis, by its code and by its text."""

import numpy as np
import pytest

from stages.scoring.error_analysis import box_ratios, categorize, error_metrics, first_best
from stages.scoring.iou import best_iou
from stages.scoring.ragged import RaggedBoxes, from_counts

INCLUSIVE = np.array([0, 0, 1, 1])


pytestmark = pytest.mark.golden("error_analysis")


@pytest.fixture
def boxes(golden) -> tuple[np.ndarray, RaggedBoxes]:
    arrays = golden.arrays
    truth = from_counts(arrays["gt_boxes"] + INCLUSIVE, arrays["gt_count"])
    return (arrays["pred_box"] + INCLUSIVE).astype(float), truth


def test_ratios(golden, boxes):
    """Breaks when inclusive corners are not converted, or IoG and IoP are swapped."""
    arrays = golden.arrays
    ratios = box_ratios(*boxes)
    for name in ("iou", "iog", "iop"):
        atol = golden.tolerance("ratios")
        np.testing.assert_allclose(getattr(ratios, name), arrays[name], atol=atol, rtol=0)
    np.testing.assert_allclose(best_iou(*boxes), arrays["max_iou"], atol=golden.tolerance("ratios"), rtol=0)
    np.testing.assert_array_equal(first_best(ratios.iou, boxes[1]), arrays["max_gt_index"] + boxes[1].offsets[:-1])


@pytest.mark.parametrize("variant", ["code", "text"])
def test_categories(golden, boxes, variant):
    """Breaks when the order of the decision, a bound or its strictness changes."""
    arrays = golden.arrays
    predicted, truth = boxes
    found = categorize(predicted, truth, arrays["pred_label"] == arrays["gt_label"], variant)
    np.testing.assert_array_equal(found, arrays[f"category_{variant}"])


def test_errors_sum_to_the_localisation_error(golden, boxes):
    """Breaks when a category overlaps another or an image has none."""
    arrays = golden.arrays
    predicted, truth = boxes
    found = categorize(predicted, truth, arrays["pred_label"] == arrays["gt_label"], "code")
    errors = np.sum(list(error_metrics(found).values()), axis=0)
    np.testing.assert_array_equal(100 * errors, arrays["loc_error"])
