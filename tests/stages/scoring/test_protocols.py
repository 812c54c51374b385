"""Protocol adapters on cases small enough to do by hand."""

import numpy as np
import pytest

from stages.scoring.iou import aligned_iou, best_iou
from stages.scoring.protocols import PROTOCOLS, correct, first_boxes
from stages.scoring.ragged import from_counts, from_lists


def test_wsolevaluation_truncates_inclusive_corners():
    """Breaks when corners are rounded, or the half-open far corner is scaled instead of the last pixel."""
    truth = from_lists([[[60, 27, 386, 332]]])
    framed = PROTOCOLS["wsolevaluation"].ground_truth(truth, [[500, 335]])
    expected = [int(60 * 224 / 500), int(27 * 224 / 335), int(385 * 224 / 500) + 1, int(331 * 224 / 335) + 1]
    np.testing.assert_array_equal(framed.boxes, [expected])


def test_psol_clips_ground_truth_to_the_crop():
    """Breaks when the part outside the centre crop still counts."""
    truth = from_lists([[[0, 0, 101, 101]], [[0, 0, 6, 101]]])
    framed = PROTOCOLS["psol"].ground_truth(truth, [[100, 100], [100, 100]])
    np.testing.assert_array_equal(framed.boxes[0], [0, 0, 224, 224])
    assert framed.boxes[1, 2] == 0  # vanished beyond the crop's edge
    np.testing.assert_array_equal(best_iou(PROTOCOLS["psol"].frame(np.full((2, 2), 100.0)), framed), [1, 0])


def test_original_keeps_half_open_pixels():
    """Breaks when the frame of original pixels gains a pixel."""
    truth = from_lists([[[2, 3, 10, 9]]])
    protocol = PROTOCOLS["original"]
    assert protocol.best_iou([[2, 3, 10, 9]], truth, [[20, 10]]) == [1.0]
    assert protocol.best_iou(protocol.frame(np.array([[20.0, 10.0]])), truth, [[20, 10]]) == [48 / 200]


def test_first_box_drops_the_others():
    """Breaks when the best box is kept instead of the first, or offsets shift past an image without boxes."""
    truth = from_lists([[[0, 0, 1, 1], [0, 0, 4, 4]], [], [[1, 1, 2, 2], [0, 0, 4, 4]]])
    first = first_boxes(truth)
    np.testing.assert_array_equal(first.boxes, [[0, 0, 1, 1], [1, 1, 2, 2]])
    np.testing.assert_array_equal(first.counts, [1, 0, 1])
    found = PROTOCOLS["first_box"].best_iou([[0, 0, 4, 4]] * 3, truth, [[4, 4]] * 3)
    np.testing.assert_array_equal(found, [1 / 16, 0, 1 / 16])


def test_a_perfect_prediction_is_perfect_under_every_protocol():
    """Breaks when a protocol moves predictions and ground truth apart; psol itself does, by a pixel."""
    boxes, sizes = [[100, 80, 400, 300], [10, 20, 90, 70]], [[500, 375], [128, 96]]
    truth = from_counts(boxes, [1, 1])
    for name, protocol in PROTOCOLS.items():
        assert protocol.best_iou(boxes, truth, sizes).min() > (0.96 if name == "psol" else 0.999), name


def test_comparison():
    """Breaks when a box of IoU exactly delta changes sides."""
    np.testing.assert_array_equal(correct(np.array([0.5, 0.4]), 0.5), [True, False])
    assert not correct(np.array([0.5]), 0.5, strict=True).any()
    assert [name for name, protocol in PROTOCOLS.items() if protocol.strict] == ["original_strict", "psol"]


def test_iou_of_hand_made_boxes():
    """Breaks when boxes that touch overlap, or an empty box divides by zero."""
    boxes = np.array([[0.0, 0, 2, 2], [2, 0, 4, 2], [1, 1, 1, 1]])
    np.testing.assert_array_equal(aligned_iou(boxes[:1], np.array([[1.0, 0, 3, 2]])), [2 / 6])
    np.testing.assert_array_equal(aligned_iou(boxes, boxes[[1, 0, 2]]), [0, 0, 0])


def test_bad_boxes_are_refused():
    """Breaks when crossed corners or a wrong number of counts get into the arrays."""
    with pytest.raises(ValueError, match="x1 < x0"):
        from_counts([[3, 0, 1, 1]], [1])
    with pytest.raises(ValueError, match="add up"):
        from_counts([[0, 0, 1, 1]], [2])
    with pytest.raises(ValueError, match="2 predicted"):
        best_iou(np.zeros((2, 4)), from_lists([[]]))
