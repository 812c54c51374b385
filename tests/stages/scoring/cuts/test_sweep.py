"""The fast sweep against OpenCV's contours."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stages.scoring.cuts.fill import fill_holes
from stages.scoring.cuts.quantized import CUTS, Rule, cuts_of_thresholds, quantize
from stages.scoring.cuts.sweep import largest_contour_boxes, sweep
from stages.scoring.iou import best_of
from stages.scoring.ragged import from_lists
from tests.stages.scoring.cuts.contours import contour_boxes

RULES: tuple[Rule, ...] = ("largest", "all")


def check_equal(score_map: np.ndarray, boxes: list[list[float]]) -> None:
    """Fast and OpenCV give the same IoUs, bit for bit."""
    fast = sweep(score_map[None], from_lists([boxes]))
    for rule in RULES:
        expected = best_iou_per_cut(score_map, np.array(boxes, dtype=float), rule)
        np.testing.assert_array_equal(fast[rule][0], expected, err_msg=rule)


def best_iou_per_cut(score_map: np.ndarray, truth: np.ndarray, rule: Rule) -> np.ndarray:
    """Best IoU (255,) of any contour's box with any true box (G, 4) at each cut 0..254."""
    best = np.zeros(CUTS)
    low = 0
    for high in np.append(np.unique(score_map), CUTS):
        if high > low:
            best[low:high] = best_of(contour_boxes(score_map, low, rule), truth).max()
            low = high
    return best


def check_largest(score_map: np.ndarray) -> None:
    """The largest contour has the same box at every cut, ties included."""
    fast = largest_contour_boxes(score_map)
    for cut in [*np.unique(score_map), 0, 254]:
        if cut < 255:
            np.testing.assert_array_equal(fast[cut], contour_boxes(score_map, int(cut), "largest")[0])


small_maps = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 24), st.integers(1, 24)),
    elements=st.one_of(st.sampled_from([0, 1, 127, 128, 254, 255]), st.integers(0, 255)),
)
two_level_maps = hnp.arrays(np.uint8, st.tuples(st.integers(1, 16), st.integers(1, 16)), elements=st.integers(0, 2))


@settings(max_examples=150)
@given(st.one_of(small_maps, two_level_maps), st.integers(0, 20), st.integers(0, 20))
def test_any_map(score_map, x, y):
    """Breaks on any topology: holes in holes, diagonal joints, borders, maps one pixel wide, plateaus, equal areas."""
    check_equal(score_map, [[x, y, x + 5, y + 7], [0, 0, 3, 2]])
    check_largest(score_map)


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 7, 14, 28]))
def test_smooth_maps(seed, side):
    """Breaks when a pixel that widens a box or joins two components is thought not to matter."""
    coarse = np.random.default_rng(seed).random((side, side))
    values = cv2.resize(coarse, (96, 80), interpolation=cv2.INTER_CUBIC)
    score_map = quantize((values - values.min()) / (values.max() - values.min()))
    check_equal(score_map, [[10, 20, 50, 60]])
    check_largest(score_map)


def rings(side: int = 48) -> np.ndarray:
    distance = np.hypot(*(np.indices((side, side)) - side / 2 + 0.3))
    return (127 * (1 + np.cos(distance))).astype(np.uint8)


def diamond_rings(side: int = 41) -> np.ndarray:
    distance = np.abs(np.indices((side, side)) - side // 2).sum(axis=0)
    return np.where(distance % 4 == 0, 200 - distance, 10).astype(np.uint8)


def spikes(side: int = 40) -> np.ndarray:
    score_map = np.zeros((side, side), np.uint8)
    score_map[::5, ::7] = np.arange(score_map[::5, ::7].size).reshape(score_map[::5, ::7].shape) % 7 + 249
    return score_map


NAMED = {
    "zero": np.zeros((32, 32), np.uint8),
    "constant": np.full((32, 32), 255, np.uint8),
    "constant_low": np.full((32, 32), 7, np.uint8),
    "one_pixel": np.pad(np.full((1, 1), 255, np.uint8), ((5, 20), (9, 12))),
    "ramp": np.tile(np.arange(64, dtype=np.uint8) * 4, (40, 1)),
    "plateau": np.kron(np.arange(16, dtype=np.uint8).reshape(4, 4) * 17, np.ones((9, 9), np.uint8)),
    "checkers": np.indices((30, 30)).sum(axis=0).astype(np.uint8) % 2 * 255,
    "rings": rings(),
    "diamond_rings": diamond_rings(),
    "spikes": spikes(),
    "noise": np.random.default_rng(5).integers(0, 256, (60, 60), dtype=np.uint8),
    "coarse_noise": np.random.default_rng(6).integers(0, 4, (60, 60), dtype=np.uint8) * 85,
    "row": np.random.default_rng(7).integers(0, 256, (1, 50), dtype=np.uint8),
    "column": np.random.default_rng(8).integers(0, 256, (50, 1), dtype=np.uint8),
}


@pytest.mark.parametrize("name", NAMED)
def test_named_maps(name):
    """Breaks when one of these shapes, each hard in its own way, is treated approximately."""
    check_equal(NAMED[name], [[4, 5, 20, 18], [0, 0, 1, 1]])
    check_largest(NAMED[name])


def test_no_contour_is_the_corner_pixel():
    """Breaks when an empty mask scores 0: two all-zero inclusive boxes have IoU 1 in the reference."""
    score_map = np.zeros((1, 10, 10), np.uint8)
    for rule, ious in sweep(score_map, from_lists([[[0, 0, 1, 1]]])).items():
        np.testing.assert_array_equal(ious, 1.0, err_msg=rule)


def test_predicted_box_is_one_pixel_larger_except_at_the_border():
    """Breaks when the far corner is treated as half-open, as it looks."""
    score_map = np.zeros((20, 20), np.uint8)
    score_map[3:8, 4:10] = 255
    np.testing.assert_array_equal(largest_contour_boxes(score_map)[0], [4, 3, 11, 9])
    score_map[3:20, 4:20] = 255
    np.testing.assert_array_equal(largest_contour_boxes(score_map)[0], [4, 3, 20, 20])


def test_image_without_ground_truth_scores_zero():
    """Breaks when ragged offsets shift: the image after an empty one would get its neighbour's boxes."""
    score_map = np.full((2, 8, 8), 255, np.uint8)
    ious = sweep(score_map, from_lists([[], [[0, 0, 8, 8]]]))["all"]
    assert not ious[0].any()
    assert (ious[1] == 1).all()


def test_fill_holes_is_the_fill_of_every_cut():
    """Breaks when a hole leaks through a diagonal, or a border pixel counts as a hole."""
    score_map = np.random.default_rng(3).integers(0, 6, (20, 30), dtype=np.uint8)
    filled = fill_holes(score_map)
    for cut in range(6):
        background = np.pad((score_map <= cut).astype(np.uint8), 1, constant_values=1)
        _, labels = cv2.connectedComponents(background, connectivity=4)
        np.testing.assert_array_equal(filled > cut, (labels != labels[0, 0])[1:-1, 1:-1])


def test_thousand_thresholds_are_255_cuts():
    """Breaks when cuts are rounded: with a full range map every integer cut 0..254 and no other occurs."""
    np.testing.assert_array_equal(np.unique(cuts_of_thresholds(np.arange(0, 1, 0.001))), np.arange(255))


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1])
def test_quantize_refuses(bad):
    """Breaks when a NaN silently becomes 0."""
    with pytest.raises(ValueError, match="score map"):
        quantize(np.array([[0.0, bad]]))


def test_wrong_shapes_are_refused():
    """Breaks when a map too many or a float map is swept anyway."""
    truth = from_lists([[[0, 0, 1, 1]]])
    with pytest.raises(ValueError, match="maps"):
        sweep(np.zeros((2, 8, 8), np.uint8), truth)
    with pytest.raises(ValueError, match="maps"):
        sweep(np.zeros((1, 8, 8)), truth)  # type: ignore[arg-type]
