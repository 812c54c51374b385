"""Topic `lcar`: the normalized cut against a dense eigensolver, SGRM against the straightforward flow."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Measured
from benchmarks.ncut_speed import ncut_speed
from benchmarks.sgrm_speed import sgrm_speed


def measure(folder: Path) -> Iterator[Measured]:
    """The topic's figures; nothing is written."""
    yield from ncut_speed()
    yield from sgrm_speed()
