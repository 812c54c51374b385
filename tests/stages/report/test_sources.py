"""What the page says of each source of boxes, by hand."""

import numpy as np
import pyarrow as pa
import pytest

from schemas import TABLES
from stages.report import choice
from stages.report.sources import KINDS, Images, judged, summary
from stages.scoring.ragged import from_lists

SIZE = (100.0, 50.0)
TRUE = (20.0, 10.0, 60.0, 30.0)
OTHER = (70.0, 30.0, 95.0, 45.0)


def images(truth: list[list[tuple[float, float, float, float]]]) -> Images:
    """Images a, b, c, ... of 100x50 pixels, of two classes in turn."""
    ids = [chr(97 + place) for place in range(len(truth))]
    labels = np.arange(len(truth)) % 2
    return Images(ids, np.array([SIZE] * len(truth)), labels, from_lists(truth))


def table(rows: dict[str, list[tuple[float, float, float, float]]], **more: dict[str, object]) -> pa.Table:
    """Rows of pseudo_labels: image id -> boxes, best first; more: column -> image id -> value."""
    names = ("x0", "y0", "x1", "y1", "score")
    made = [
        {
            "image_id": image_id,
            "boxes": [dict(zip(names, (*box, 0.5), strict=True)) for box in boxes],
            **{column: values.get(image_id) for column, values in more.items()},
        }
        for image_id, boxes in rows.items()
    ]
    return TABLES["pseudo_labels"].from_rows(made).select(["image_id", "boxes", "flag", "quality"])


@pytest.mark.parametrize(
    ("box", "truth", "kind"),
    [
        ((20, 10, 60, 28), [TRUE], "right"),
        ((20, 10, 40, 20), [TRUE], "part of it"),
        ((0, 0, 100, 50), [TRUE], "too large"),
        ((70, 35, 90, 45), [TRUE], "elsewhere"),
        ((0, 0, 100, 50), [TRUE, OTHER], "several objects"),
        (None, [TRUE], "no box"),
    ],
)
def test_kinds_of_boxes(box, truth, kind):
    """Breaks when a filter of the page calls a box what it is not."""
    found = judged(table({"a": [box] if box else []}), images([truth]), {})
    assert KINDS[found.kind[0]] == kind
    assert found.iou[0] >= 0.5 if kind == "right" else found.iou[0] < 0.5


def test_an_image_without_truth_or_without_a_row_is_not_judged():
    """Breaks when an unknown box counts as wrong, a missing row as no box, or a row of another split is shown."""
    rows = table({"b": [TRUE], "z": [TRUE]}, flag={"b": "empty_mask"}, quality={"b": 0.25})
    found = judged(rows, images([[TRUE], []]), {"a": 0.5})
    assert found.given.tolist() == [False, True]
    assert found.kind.tolist() == [-1, -1]
    assert np.isnan(found.iou).all()
    assert found.flags == [None, "empty_mask"]
    assert found.quality.tolist() == [0.5, 0.25]
    assert found.ranks()[1] == "quality"


def test_the_first_row_and_the_first_box_of_an_image_count():
    """Breaks when the second box, or the row of a second label, is taken for the best."""
    twice = pa.concat_tables([table({"a": [TRUE, OTHER]}), table({"a": [OTHER]})])
    found = judged(twice, images([[TRUE]]), {})
    assert found.iou.tolist() == [1.0]
    assert found.area.tolist() == [40 * 20 / 5000]


def test_a_source_in_one_line():
    """Breaks when shares are of other images than those with a row, or bars are not of the values."""
    rows = table(
        {"a": [TRUE], "b": [(0, 0, 100, 50)], "c": []},
        flag={"b": "whole_image", "c": "no_box"}, quality={"a": 0.92, "b": 0.12},
    )  # fmt: skip
    line = summary(judged(rows, images([[TRUE], [TRUE], [], [TRUE]]), {}))
    assert (line.rows, line.boxes) == (3, 2)
    assert line.whole == pytest.approx(100 / 3)
    assert line.flagged == pytest.approx(200 / 3)
    assert line.right == 50.0
    assert line.quality == pytest.approx(52.0, abs=1e-4)
    assert [place for place, height in enumerate(line.areas) if height] == [0, 3, 19]
    assert [place for place, height in enumerate(line.qualities) if height] == [2, 18]


def test_lowest_and_highest_know_nothing_of_the_unknown():
    """Breaks when an image without a number is called the worst, or ties are broken by chance."""
    values = np.array([0.5, np.nan, 0.1, 0.5, 0.9])
    low, high = choice.extremes(images([[]] * 5), values, 3)
    assert low == ["c", "a", "d"]
    assert high == ["e", "a", "d"]


def test_classes_with_the_least_that_is_right_come_first():
    """Breaks when shares of a class count images of another, or a class without truth hides the others."""
    rows = table({"a": [TRUE], "b": [OTHER], "c": [OTHER], "d": [OTHER]}, flag={"d": "empty_mask"})
    found = images([[TRUE], [TRUE], [TRUE], []])
    first, second = choice.class_rows(found, judged(rows, found, {}))
    assert (first.label, first.images, first.right, first.flagged) == (1, 2, 0.0, 50.0)
    assert (second.label, second.images, second.right, second.flagged) == (0, 2, 50.0, 0.0)
    assert sorted(first.shown) == ["b", "d"]
    assert [row.right for row in choice.class_rows(found, None)] == [None, None]
