"""Topic `evaluate`: the sweep over thresholds against OpenCV at each of them, and 50,000 score maps of a table."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Measured
from benchmarks.score_map_table import score_map_table
from benchmarks.sweep_speed import sweep_speed


def measure(folder: Path) -> Iterator[Measured]:
    """The topic's figures."""
    yield from sweep_speed()
    yield from score_map_table(folder)
