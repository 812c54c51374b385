"""Topic `pipeline`: what the machinery around the network costs, and how long a rerun of a finished run takes."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.cam_throughput import cam_throughput
from benchmarks.figures import Measured
from benchmarks.finished_rerun import finished_rerun


def measure(folder: Path) -> Iterator[Measured]:
    """The topic's figures."""
    yield cam_throughput(folder / "cam")
    yield from finished_rerun(folder / "rerun")
