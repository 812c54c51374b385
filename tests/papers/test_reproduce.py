"""`weakbox reproduce` on a finished run, with a table made for it."""

import json
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from jobs.cli import cli
from jobs.reported import metric_of, reported_of
from jobs.results import metric_rows
from pipeline.base.errors import UsageError
from tests import runs

TABLES = [
    {
        "table": "Table 1",
        "split": "test",
        "protocol": "original",
        "errors": True,
        "rows": [
            {"row": "CAM", "source": "boxes_cam", "top1_loc": 40.0, "gt_known": 30.0, "gt_delta@0.7": 90.0},
            {"row": "classes", "source": "classes", "cls_top1": 10.0},
            {"row": "longer", "source": "boxes_cam", "set": ["stages.classify.epochs=9"], "gt_known": 20.0},
        ],
    },
    {"table": "Table 2", "split": "test", "rows": [{"row": "CAM", "source": "cam", "max_box_acc": 50}]},
]


@pytest.fixture
def config(run_copy, tmp_path):
    """The config of a finished run, with printed numbers beside it."""
    path = tmp_path / "paper.yaml"
    path.write_text(yaml.safe_dump(run_copy))
    (tmp_path / "reported").mkdir()
    (tmp_path / "reported" / "paper.yaml").write_text(yaml.safe_dump(TABLES, sort_keys=False))
    return str(path)


def shown(*arguments: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(cli, ["reproduce", *arguments, "--json", "-"])
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_both_columns_are_in_the_papers_terms(config, finished_run):
    """Breaks when an error rate is compared with an accuracy, an interval stays the wrong way round, or IoUs mix."""
    own: dict[Any, Any] = {
        (row["source"], row["metric"], row["iou"]): row
        for row in metric_rows(finished_run)
        if row["split"] == "test" and row["protocol"] in ("original", None, "wsolevaluation")
    }
    top1, known, strict, classes, longer, maps = shown(config)
    assert [row["paper"] for row in (top1, known, strict, classes, longer, maps)] == [40, 30, 90, 10, 20, 50]
    expected = own["boxes_cam", "gt_known", 0.5]
    assert known["ours"] == pytest.approx(100 - expected["value"])
    assert (known["low"], known["high"]) == pytest.approx((100 - expected["ci_high"], 100 - expected["ci_low"]))
    assert known["difference"] == pytest.approx(known["ours"] - 30)
    assert strict["ours"] == pytest.approx(100 - own["boxes_cam", "gt_delta", 0.7]["value"])
    assert strict["metric"] == "gt_delta@0.7 (error)"
    assert classes["ours"] == pytest.approx(100 - own["classes", "cls_top1", None]["value"])
    assert maps["ours"] == pytest.approx(own["cam", "max_box_acc", 0.5]["value"])
    assert maps["metric"] == "max_box_acc"


def test_a_row_of_other_changes_waits_for_them(config):
    """Breaks when the number of one configuration is printed beside that of another."""
    longer = shown(config)[4]
    assert longer["ours"] is None
    assert longer["this row is made by"] == "--set stages.classify.epochs=9"
    changed = shown(config, "--set", "stages.classify.epochs=9")
    assert [row["ours"] for row in changed] == [None] * 6, "that run was never made"


def test_a_run_that_was_not_made_shows_the_papers_side(config, tmp_path):
    """Breaks when nobody can look at the paper's numbers before days of training."""
    rows = shown(config, "--set", f"run_root={tmp_path / 'nowhere'}")
    assert {row["ours"] for row in rows} == {None}


def test_further_changes_are_said(config):
    """Breaks when a run of other settings passes for the paper's."""
    result = CliRunner().invoke(cli, ["reproduce", config, "--set", "stages.ddt.tap=layer2"])
    assert "not the paper's: --set stages.ddt.tap=layer2" in result.stderr


def test_two_numbers_for_one_are_refused(config, finished_run):
    """Breaks when which of two numbers is shown depends on their order."""
    known = reported_of(config)[1]
    rows = metric_rows(finished_run)
    assert metric_of(rows, known) is not None
    with pytest.raises(UsageError, match="the run has 2 numbers of source boxes_cam"):
        metric_of([*rows, *rows], known)


@pytest.mark.parametrize(
    "text",
    [
        "- {table: 1}",
        "]",
        "3",
        "- {table: T, split: test, rows: [], more: 1}",
        "- {table: T, split: test, rows: [{gt_known: 1}]}",
    ],
)
def test_damaged_tables_are_one_line(config, tmp_path, text):
    """Breaks when a slip in a table of numbers ends in a traceback."""
    (tmp_path / "reported" / "paper.yaml").write_text(text)
    with pytest.raises(UsageError, match="reported/paper.yaml: "):
        reported_of(config)


def test_runs_share_the_fixture():
    """The tables above name stages of the tiny run."""
    assert {"boxes_cam", "classes", "cam"} <= runs.STAGES.keys()
