"""Topic `forward`: what the forward pass gains where networks predict, and what that does to boxes."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Measured
from benchmarks.forward_boxes import forward_boxes
from benchmarks.forward_rate import forward_rate


def measure(folder: Path) -> Iterator[Measured]:
    """The topic's figures."""
    yield from forward_boxes(folder / "boxes")
    yield from forward_rate(folder / "rate")
