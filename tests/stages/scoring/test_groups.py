"""Accuracy by class and size, and the paired test of two methods."""

import numpy as np
import pytest

from stages.scoring.arrow_tables import Truth
from stages.scoring.groups import SIZE_NAMES, by_class, by_size, comparison_rows, group_rows, yardstick_rows
from stages.scoring.metric_rows import Subject
from stages.scoring.metrics import MetricKey
from stages.scoring.ragged import from_lists

KEY = MetricKey("gt_known", 0.5)
LABELS = np.array([0, 1, 1, 0, 2])
CORRECT = np.array([True, True, False, False, True])


def truth() -> Truth:
    """Objects of 1, 10, 29, 60 and 100 % of the image; the second image has a smaller box too."""
    boxes = [
        [(0, 0, 10, 10)],
        [(0, 0, 5, 5), (0, 0, 100, 10)],
        [(0, 0, 29, 100)],
        [(0, 0, 60, 100)],
        [(0, 0, 100, 100)],
    ]
    return Truth(tuple("abcde"), np.full((5, 2), 100.0), LABELS, from_lists(boxes))


def test_groups_hold_every_image_once():
    """Breaks when an edge belongs to two ranges, or a small second box decides."""
    sizes = by_size(truth())
    assert {name: np.flatnonzero(members).tolist() for name, members in sizes.items()} == {
        SIZE_NAMES[0]: [0],
        SIZE_NAMES[1]: [1, 2],
        SIZE_NAMES[3]: [3, 4],
    }
    classes = by_class(LABELS, {0: "cat", 1: "dog", 2: "emu"})
    assert list(classes) == ["cat", "dog", "emu"]
    np.testing.assert_array_equal(sum(members.astype(int) for members in classes.values()), 1)


def test_rows_of_groups_add_up_to_the_whole():
    """Breaks when a group's rows are taken from other images."""
    classes = by_class(LABELS, {0: "cat", 1: "dog", 2: "emu"})
    rows = list(group_rows(Subject("cam", "boxes"), {KEY: CORRECT}, "original", "class", classes))
    assert [(row["group"], row["value"], row["n"]) for row in rows] == [("cat", 50, 2), ("dog", 50, 2), ("emu", 100, 1)]
    assert sum(row["value"] * row["n"] for row in rows) / 5 == pytest.approx(100 * CORRECT.mean())


def test_comparisons_are_first_minus_second_on_the_same_images():
    """Breaks when the sign turns, or the two vectors are resampled apart."""
    rows = list(comparison_rows([("a", {KEY: CORRECT}), ("b", {KEY: ~CORRECT}), ("c", {KEY: CORRECT})], "original"))
    found = {(row["first"], row["second"]): row for row in rows}
    assert found.keys() == {("a", "b"), ("a", "c"), ("b", "c")}
    assert found["a", "b"]["difference"] == pytest.approx(20)
    assert (found["a", "c"]["difference"], found["a", "c"]["ci_low"], found["a", "c"]["ci_high"]) == (0, 0, 0)
    assert found["a", "c"]["p_value"] == 1


def test_every_method_meets_the_best_trivial_predictor_of_each_metric():
    """Breaks when a method is compared with a weaker yardstick, or with that of another metric."""
    fits = MetricKey("gt_delta", 0.7)
    none, all_right = np.zeros(5, bool), np.ones(5, bool)
    trivial = [("whole_image", {KEY: none, fits: all_right}), ("centred_square", {KEY: CORRECT, fits: none})]
    top1 = MetricKey("top1_loc", 0.5)
    rows = list(yardstick_rows([("a", {KEY: all_right, fits: CORRECT, top1: CORRECT})], trivial, "original"))
    found: dict[str, object] = {row["metric"]: (row["first"], row["second"], row["difference"]) for row in rows}
    assert found == {
        "gt_known": ("a", "centred_square", pytest.approx(40)),
        "gt_delta": ("a", "whole_image", pytest.approx(-40)),
    }
