"""Topic `localizers`: what a localizer's training step costs beside plain cross-entropy, and SCG's speed."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Measured
from benchmarks.scg_speed import scg_speed
from benchmarks.training_step import training_steps


def measure(folder: Path) -> Iterator[Measured]:
    """The topic's figures; nothing is written."""
    yield from training_steps()
    yield from scg_speed()
