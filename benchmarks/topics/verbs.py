"""Topic `verbs`: how fast commands that compute nothing answer."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.fast_verbs import fast_verbs
from benchmarks.figures import Measured


def measure(folder: Path) -> Iterator[Measured]:
    """The topic's figures."""
    yield from fast_verbs(folder)
