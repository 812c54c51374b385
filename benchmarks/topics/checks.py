"""Topic `checks`: what it costs to check everything that is read."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.checks_cost import checks_cost
from benchmarks.figures import Measured


def measure(folder: Path) -> Iterator[Measured]:
    """The topic's figures."""
    yield from checks_cost(folder)
