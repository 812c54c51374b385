"""The tables and headline figures: what may be called best, and beside what."""

from typing import Any

import pytest

from stages.report.results import headline, measured_split, split_tables
from tests.stages.report.sample import metrics


def row(method: str, value: float | None, **changes: Any) -> dict[str, Any]:
    """A GT-known row of the test split."""
    shared = {
        "run": "r",
        "dataset": "d",
        "split": "test",
        "source": method,
        "seed": None,
        "metric": "gt_known",
        "iou": 0.5,
    }
    rest = {"protocol": "original", "threshold": None, "threshold_choice": "validated", "n": 10}
    return {**shared, **rest, "method": method, "value": value, "ci_low": None, "ci_high": None, **changes}


def test_an_oracle_number_is_never_the_headline_while_an_honest_one_exists() -> None:
    """Breaks when a threshold tuned on the reported split wins over one that was not."""
    rows = [row("cam", 70.0), row("ddt", 90.0, threshold_choice="oracle"), row("psol", 75.0, threshold_choice=None)]
    top = headline(rows)
    assert top is not None
    assert (top.method, top.cell.value) == ("psol", 75.0)
    (only,) = [headline([row("ddt", 90.0, threshold_choice="oracle")])]
    assert only is not None
    assert only.cell.choice == "oracle"


def test_the_yardstick_has_the_same_protocol() -> None:
    """Breaks when a crop protocol, worth ten points to a trivial predictor, is compared with whole images."""
    crop = row("whole_crop", 50.0, protocol="psol", threshold_choice=None)
    whole = row("whole_image", 40.0, threshold_choice=None)
    top = headline([row("cam", 45.0), crop, whole])
    assert top is not None
    assert top.trivial == "whole_image"
    assert top.lead == pytest.approx(5.0)
    (table,) = split_tables([row("cam", 45.0), crop, whole])
    assert not table.rows[0].cells[0][0].beaten
    (table,) = split_tables([row("cam", 40.0), crop, whole])
    assert table.rows[0].cells[0][0].beaten


def test_methods_come_best_first_and_trivial_predictors_last() -> None:
    """Breaks when yardsticks mix with methods, or an oracle value decides the order."""
    test, dev = split_tables(metrics())
    assert (test.split, dev.split) == ("test", "dev")
    assert [line.method for line in test.rows] == [
        "psol", "cam", "ddt", "classifier", "centred_square", "whole_image", "centred_gaussian",
    ]  # fmt: skip
    assert [line.trivial for line in test.rows] == [False] * 4 + [True] * 3


def test_a_cell_shows_honest_thresholds_first_and_best_among_its_kind() -> None:
    """Breaks when oracle and validated values share one ranking, or one of them is dropped."""
    test, _ = split_tables(metrics())
    cam = next(line for line in test.rows if line.method == "cam")
    known = cam.cells[test.columns.index("GT-known")]
    assert [(cell.value, cell.choice, cell.best) for cell in known] == [
        (71.25, "validated", False),
        (72.0, "oracle", True),
    ]


def test_boxes_and_their_maps_share_a_line_but_rival_sources_do_not() -> None:
    """Breaks when a method is torn apart by stage names, or two trainings of it are merged."""
    test, _ = split_tables(metrics())
    cam = next(line for line in test.rows if line.method == "cam")
    assert cam.sources == ("cam_boxes", "cam")
    assert all(cell for title, cell in zip(test.columns, cam.cells, strict=True) if title != "Cls top-1")
    (table,) = split_tables([row("psol", 70.0, source="on_cam"), row("psol", 60.0, source="on_ddt")])
    assert [line.sources for line in table.rows] == [("on_cam",), ("on_ddt",)]


def test_undefined_values_are_shown_as_such() -> None:
    """Breaks on a null value, which a split without boxes gives."""
    (table,) = split_tables([row("cam", None), row("whole_image", None)])
    assert [line.cells[0][0].value for line in table.rows] == [None, None]
    assert headline([row("cam", None)]) is None
    assert headline([]) is None
    assert split_tables([]) == []


def test_the_split_on_top_is_one_where_places_were_measured() -> None:
    """Breaks when a run of maps alone shows the images of train, or one picture of dev counts as a measurement."""
    counted = [row("cam", 60.0, metric="max_box_acc", split="val"), row("cam", 55.0, metric="pxap", split="test")]
    others = [row("cam", 99.0, metric="cls_top1", split="dev"), row("centred_square", 50.0, split="test")]
    assert measured_split(counted) == "test"
    assert measured_split([*counted[:1], *others[:1], row("ddt", None, split="test")]) == "val"
    assert measured_split(others) is None
