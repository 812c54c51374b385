"""Rows, bars and rates by small numbers worked out by hand."""

import json
import math

import pytest

from benchmarks.figures import Bar, Measured, rows, table, write
from benchmarks.pairs import interleaved
from benchmarks.repeated_stages import rate
from benchmarks.run import main, read_bars, topics

FIELDS = {
    *("figure", "value", "unit", "bar", "direction", "met"),
    *("reason", "command", "environment", "baseline_value", "repeats"),
}


def test_rows_have_the_fixed_fields_and_say_whether_the_bar_is_met(tmp_path):
    """Breaks when a reader of the results file no longer finds a field, or a figure that falls short is called met."""
    bars = {"fast": Bar(2.0, ">=", "ratio"), "short": Bar(10, "<=", "s"), "gone": Bar(1, ">=", "ratio")}
    measured = [Measured("fast", 2.0, 5, 3.0), Measured("short", 10.1, 5), Measured("gone", None, 0, reason="no GPU")]
    found = rows([*measured, Measured("free", 1.0, 1, unit="s")], bars, "make bench TOPIC=x", {"python": "3"})
    assert all(set(row) == FIELDS for row in found)
    assert [row["met"] for row in found] == [True, False, None, None]
    assert json.loads(write("x", found, tmp_path).read_text()) == found
    assert "NO" in table(found).splitlines()[2]


def test_a_value_that_is_no_number_is_refused():
    """Breaks when a division by nothing ends as NaN in a results file."""
    with pytest.raises(ValueError, match="fast"):
        rows([Measured("fast", math.nan, 5)], {}, "", {})


def test_rate_counts_the_rows_after_the_first_commit():
    """Breaks when the start of the first shard, or its rows, enter the rate."""
    assert rate([(14.0, 30), (10.0, 50), (12.0, 10)], 1) == pytest.approx(40 / 4)


@pytest.mark.parametrize("lag", [0.0, 0.5, 0.9])
def test_rate_is_the_same_in_step_and_out_of_step(lag):
    """Breaks when two processes that happen to finish together count as faster than two that alternate."""
    commits = [(2.0 * wave + offset, 60) for wave in range(1, 6) for offset in (0.0, 2.0 * lag)]
    assert rate(commits, 2) == pytest.approx(60, rel=0.12 if lag else 1e-9)


def test_arms_alternate_and_the_ratio_is_the_median_of_pairs():
    """Breaks when one arm is always measured first, or the ratio mixes pairs."""
    said = []
    numbers = iter([1.0, 2.0, 8.0, 2.0, 3.0, 2.0])

    def arm(name):
        said.append(name)
        return next(numbers)

    pairs = interleaved(lambda: arm("a"), lambda: arm("b"), repeats=3)
    assert said == list("abbaab")
    assert (pairs.candidate, pairs.baseline) == ([1.0, 2.0, 3.0], [2.0, 8.0, 2.0])
    assert pairs.ratio == 0.5


def test_every_topic_has_bars():
    """Breaks when a topic is added without the issue's bars, or a bar has another direction than the two."""
    for topic in topics():
        assert all(bar.direction in (">=", "<=") for bar in read_bars(topic).values())


def test_an_unknown_topic_is_wrong_usage(capsys):
    """Breaks when a typing error ends in a traceback."""
    with pytest.raises(SystemExit) as stopped:
        main(["pipelin"])
    assert stopped.value.code == 2
    assert "pipeline" in capsys.readouterr().err
