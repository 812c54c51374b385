"""The leaderboard of a finished run against the run's own metrics."""

from typing import Any

import numpy as np
import pytest

from benchmarks.leaderboard import leaderboard, lines
from jobs.results import metric_rows


def test_the_vectors_of_the_bootstrap_average_to_the_runs_own_max_box_acc(finished_run):
    """Breaks when differences are taken of other maps, images or thresholds than the table's values."""
    rows: list[dict[str, Any]] = metric_rows(finished_run)
    own = {row["source"]: row["value"] for row in rows if row["metric"] == "max_box_acc" and row["source"]}
    board = leaderboard([finished_run], "test")
    assert own.keys() == {"cam", "ddt"}
    for name, value in own.items():
        assert board[name].values["max_box_acc"] == [value]
        assert 100 * np.mean(board[name].correct[0]) == pytest.approx(value)


def test_a_line_has_means_over_runs_and_the_difference_to_the_baseline(finished_run):
    """Breaks when runs are counted apart, or the baseline is another than the one asked for."""
    board = leaderboard([finished_run, finished_run], "test")
    head, _, *rows = lines(board, "ddt")
    cells = {row.split(" | ")[0].strip("| "): row for row in rows}
    assert head.endswith("| max_box_acc over ddt, 95 % |")
    mean = np.mean(board["cam"].values["max_box_acc"])
    gained = mean - np.mean(board["ddt"].values["max_box_acc"])
    assert f"{mean:.1f} ± 0.0" in cells["cam"]
    assert f"| {gained:+.1f} (" in cells["cam"]
    assert cells["ddt"].endswith("|  |")
