"""Topic `localizers`: what a step of a localizer costs beside cross-entropy, one without a stride, and SCG."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.dilated_step import dilated_step
from benchmarks.figures import Measured
from benchmarks.scg_speed import scg_speed
from benchmarks.training_step import training_steps


def measure(folder: Path) -> Iterator[Measured]:
    """The topic's figures; nothing is written."""
    yield from training_steps()
    yield from dilated_step()
    yield from scg_speed()
