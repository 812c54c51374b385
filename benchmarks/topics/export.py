"""Topic `export`: what exports of ImageNet's size cost."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.export_cost import export_cost
from benchmarks.figures import Measured


def measure(folder: Path) -> Iterator[Measured]:
    """The topic's figures."""
    yield from export_cost(folder)
