"""Cost of checking everything that is read: processor time inside the checks over that of the whole stage.

Measured by the workers themselves, on mini.yaml with 1,000 images: small images and a small network, where checks weigh
most.
"""

import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Measured
from benchmarks.pairs import REPEATS
from pipeline.store.store import Store

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("cam", "boxes_cam")
CHANGES = ("dataset.train=800", "dataset.test=200")


def checks_cost(folder: Path) -> Iterator[Measured]:
    """The share of each stage, the median of several runs over the same data."""
    found: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for number in range(REPEATS):
        root = folder / f"run{number}"
        changes = (f"run_root={root}", f"dataset.root={folder / 'data'}", *CHANGES)
        options = [word for change in changes for word in ("--set", change)]
        config = str(ROOT / "jobs" / "configs" / "mini.yaml")
        subprocess.run(
            [sys.executable, "-m", "jobs.cli", "run", config, "--in-process", *options],
            check=True,
            cwd=ROOT,
            capture_output=True,
        )
        for stage, shares in found.items():
            shares.append(_share(Store(str(root)), stage))
    for stage, shares in found.items():
        said = f"{min(shares):.4f} to {max(shares):.4f}"
        yield Measured(f"checks_in_{stage.partition('_')[0]}", statistics.median(shares), REPEATS, reason=said)


def _share(store: Store, stage: str) -> float:
    complete = store.newest_set(stage)
    if complete is None:
        raise RuntimeError(f"{stage} is not complete")
    dones = complete.dones.values()
    return sum(done.checking for done in dones) / sum(done.cpu for done in dones)
