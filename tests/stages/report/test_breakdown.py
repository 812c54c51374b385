from stages.report.breakdown import CLASSES, breakdown
from stages.report.names import Names
from tests.stages.report import sample

NAMES = Names([("cam", "cam_boxes"), ("psol", "psol")], [])
GROUPS = [row for row in sample.groups() if row["split"] == "test"]
PAIRS = [row for row in sample.comparisons() if row["split"] == "test"]


def test_methods_stand_over_sizes_and_the_hardest_classes():
    """Breaks when another metric is mixed in, a trivial predictor stands among methods, or easy classes are shown."""
    found = breakdown(GROUPS, PAIRS, NAMES)
    assert found.sizes == (("below 10 %", 100), ("10 to 30 %", 101))
    assert [(line.name, line.trivial) for line in found.by_size] == [
        ("cam", False), ("psol", False), ("whole_image", True),
    ]  # fmt: skip
    assert [part.value for part in found.by_size[0].parts if part] == [60.0, 61.0]
    assert [name for name, _ in found.classes] == [f"<class {number}>" for number in range(CLASSES)]
    (pair,) = found.pairs
    assert (pair.first, pair.second) == ("psol", "cam_boxes")
    assert [(row["metric"], row["iou"]) for row in pair.tests if row] == [("gt_known", 0.5), ("gt_delta", 0.7)]


def test_a_pair_without_a_test_has_a_gap():
    """Breaks when the boxes of a run that was evaluated before the test at IoU 0.7 existed stop the page."""
    (pair,) = breakdown([], [row for row in PAIRS if row["metric"] != "gt_delta"], NAMES).pairs
    assert [row is None for row in pair.tests] == [False, True]


def test_a_method_without_a_group_has_a_gap():
    """Breaks when values move into the column of another group."""
    fewer = [row for row in GROUPS if (row["method"], row["group"]) != ("psol", "below 10 %")]
    found = breakdown(fewer, [], NAMES)
    (line,) = [line for line in found.by_size if line.name == "psol"]
    assert line.parts[0] is None
    assert line.parts[1] is not None
    assert found.pairs == ()


def test_nothing_scored_is_empty():
    assert breakdown([], [], NAMES).by_size == ()
