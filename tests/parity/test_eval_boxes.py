"""wsolevaluation's BoxEvaluator: counts, boxes and IoUs of every fixture of the family."""

import numpy as np
import pytest

from stages.scoring.cuts.cut_counts import count_cuts, max_box_acc, max_box_acc_v2
from stages.scoring.cuts.quantized import Rule, cuts_of_thresholds, quantize
from stages.scoring.cuts.sweep import largest_contour_boxes, sweep
from stages.scoring.protocols import PROTOCOLS
from stages.scoring.ragged import RaggedBoxes, from_counts
from tests.stages.scoring.cuts.contours import contour_boxes

INCLUSIVE = np.array([0, 0, 1, 1])
SWEPT: dict[str, dict[Rule, np.ndarray]] = {}
RULES: dict[str, Rule] = {"single": "largest", "multi": "all"}


def decode(maps: np.ndarray) -> np.ndarray:
    """Score maps as the sidecars say: (u8 + 0.5) / 255, but 0 and 1 at the ends."""
    return np.where(maps == 0, 0.0, np.where(maps == 255, 1.0, (maps + 0.5) / 255))


pytestmark = pytest.mark.golden("eval_boxes")


@pytest.fixture
def truth(golden) -> RaggedBoxes:
    arrays = golden.arrays
    original = from_counts(arrays["gt_boxes"] + INCLUSIVE, arrays["gt_count"])
    return PROTOCOLS["wsolevaluation"].ground_truth(original, arrays["image_sizes_wh"])


@pytest.fixture
def swept(golden, truth):
    """Best IoU of every map at every cut, by rule; computed once a fixture."""
    if golden.name not in SWEPT:
        SWEPT[golden.name] = sweep(golden.arrays["scoremap_u8"], truth)
    return SWEPT[golden.name]


def map_cuts(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Cut (N, S) of each map at each threshold; maps that do not reach 255 have their own."""
    maxima = arrays["scoremap_u8"].max(axis=(1, 2))
    return np.stack([cuts_of_thresholds(arrays["thresholds"], int(maximum)) for maximum in maxima])


def at_thresholds(ious: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    return np.take_along_axis(ious, cuts, axis=1)


def test_quantize_gives_the_encoded_maps_back(golden):
    """Breaks when truncation becomes rounding."""
    maps = golden.arrays["scoremap_u8"][:20]
    np.testing.assert_array_equal(quantize(decode(maps)), maps)


def test_ground_truth_in_the_frame(golden, truth):
    """Breaks when boxes are rounded instead of truncated, or scaled in another order of operations."""
    np.testing.assert_array_equal(truth.boxes - INCLUSIVE, golden.arrays["gt_boxes_resized"])


@pytest.mark.parametrize("mode", RULES)
def test_counts_of_correct_images(golden, swept, mode):
    """Breaks when a candidate box, an IoU or the threshold grid differs for any image."""
    arrays = golden.arrays
    ious = at_thresholds(swept[RULES[mode]], map_cuts(arrays))
    counts = count_cuts(ious, [level / 100 for level in golden.parameters["iou_threshold_list"]])
    np.testing.assert_array_equal(counts.hits, arrays[f"num_correct_{mode}"])
    best = [counts.best(level) for level in counts.levels]
    np.testing.assert_allclose(best, arrays[f"acc_percent_{mode}"], atol=golden.tolerance("acc"), rtol=0)


@pytest.mark.parametrize("mode", RULES)
def test_best_iou_of_each_image(golden, swept, mode):
    """Breaks when IoUs are right in the mean only."""
    arrays = golden.arrays
    cuts = map_cuts(arrays)[:, arrays["selected_threshold_index"]]
    ious = at_thresholds(swept[RULES[mode]], cuts)
    np.testing.assert_allclose(ious, arrays[f"best_iou_{mode}"], atol=golden.tolerance("best_iou"), rtol=0)


def test_max_box_acc(golden, swept):
    """Breaks when the two metrics swap rules or V2 shares one threshold among the levels."""
    arrays = golden.arrays
    cuts, atol = map_cuts(arrays), golden.tolerance("acc")
    single = count_cuts(at_thresholds(swept["largest"], cuts))
    every = count_cuts(at_thresholds(swept["all"], cuts))
    assert max_box_acc(single) == pytest.approx(float(arrays["max_box_acc"]), abs=atol)
    assert max_box_acc_v2(every) == pytest.approx(float(arrays["max_box_acc_v2"]), abs=atol)


def test_largest_box_of_each_image(golden):
    """Breaks when polygon area, hole filling or the tie rule differ: the fast path against the stored boxes."""
    arrays = golden.arrays
    cuts = map_cuts(arrays)[:, arrays["selected_threshold_index"]]
    for score_map, row, expected in zip(arrays["scoremap_u8"], cuts, arrays["single_boxes"], strict=True):
        np.testing.assert_array_equal(largest_contour_boxes(score_map)[row] - INCLUSIVE, expected)


def sorted_rows(boxes: np.ndarray) -> np.ndarray:
    return boxes[np.lexsort(boxes.T)]


def test_every_box_of_each_image(golden):
    """Breaks when the OpenCV at hand finds other contours than the reference's."""
    arrays = golden.arrays
    cuts = map_cuts(arrays)[:, arrays["selected_threshold_index"]]
    expected = iter(np.split(arrays["multi_boxes"], np.cumsum(arrays["multi_box_count"].ravel())[:-1]))
    for score_map, row in zip(arrays["scoremap_u8"], cuts, strict=True):
        for cut in row:
            found = contour_boxes(score_map, int(cut), "all") - INCLUSIVE
            np.testing.assert_array_equal(sorted_rows(found), sorted_rows(next(expected)))


def test_maps_of_other_sizes(golden):
    """Breaks when boxes are clipped to 224 instead of the map's own size, or width and height are swapped."""
    arrays = golden.arrays
    shapes = arrays["float_maps_shape_hw"]
    flat = np.split(arrays["float_maps_flat"], np.cumsum(shapes.prod(axis=1))[:-1])
    expected = iter(np.split(arrays["float_multi_boxes"], np.cumsum(arrays["float_multi_count"].ravel())[:-1]))
    for values, shape, singles in zip(flat, shapes, arrays["float_single_boxes"], strict=True):
        score_map = quantize(values.reshape(shape))
        cuts = cuts_of_thresholds(arrays["float_thresholds"], int(score_map.max()))
        np.testing.assert_array_equal(largest_contour_boxes(score_map)[cuts] - INCLUSIVE, singles)
        for cut in cuts:
            found = contour_boxes(score_map, int(cut), "all") - INCLUSIVE
            np.testing.assert_array_equal(sorted_rows(found), sorted_rows(next(expected)))
