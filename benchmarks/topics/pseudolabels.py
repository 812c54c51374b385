"""Topic `pseudolabels`: what DDT costs beside its forward pass, and what new boxes cost."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.ddt_class import ddt_class
from benchmarks.ddt_throughput import ddt_throughput
from benchmarks.figures import Measured
from benchmarks.new_boxes import new_boxes


def measure(folder: Path) -> Iterator[Measured]:
    """The topic's figures."""
    yield from ddt_throughput(folder / "ddt")
    yield from ddt_class()
    yield from new_boxes(folder / "boxes")
