"""Topic `cluster`: a pass over as many shards as ImageNet has, and what a second actor gains."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.cam_throughput import two_actors_to_one
from benchmarks.figures import Measured
from benchmarks.finished_rerun import IMAGES

_ROOT = Path(__file__).parents[2]


def measure(folder: Path) -> Iterator[Measured]:
    """The topic's figures."""
    yield from trivial_pass(folder / "trivial")
    yield two_actors_to_one(folder / "cam")


def trivial_pass(folder: Path, rows: int = IMAGES) -> Iterator[Measured]:
    """Seconds and memory of one pass with a trivial worker."""
    arguments = [sys.executable, "-m", "benchmarks.trivial_pass", str(folder), str(rows)]
    done = subprocess.run(arguments, cwd=_ROOT, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    yield Measured("trivial_pass", found["seconds"], 1, reason=f"{rows} rows; planning, 2 actors, commits, the set")
    note = "peak resident memory; a driver that imports the rooms, as `weakbox run` does, maps torch besides"
    yield Measured("trivial_pass_driver", found["driver"], 1, reason=note)
    note = f"growth of the object store after the first 100 shards; {found['store']:.0f} MB at the end"
    yield Measured("trivial_pass_object_store", found["store_growth"], 1, reason=note)
