"""Topic `export`: data sets of ImageNet's size for other tools."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.export_cost import export_cost
from benchmarks.figures import Measured


def measure(folder: Path) -> Iterator[Measured]:
    """The topic's figures."""
    yield from export_cost(folder)
