"""What a verb that computes nothing costs, beside importing the libraries that it cannot do without."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.figures import Measured
from benchmarks.pairs import REPEATS, interleaved

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = "pyarrow, pyarrow.parquet, pydantic, fsspec, click, rich, structlog, yaml, numpy"
VERBS = {"status": ("status",), "metrics": ("metrics", "--json", "-"), "plan": ("plan",)}


def fast_verbs(folder: Path) -> Iterator[Measured]:
    """User and system CPU of each verb on a finished run of mini.yaml, to that of importing `LIBRARIES`."""
    run = f"run_root={folder / 'run'}", f"dataset.root={folder / 'data'}"
    changes = [word for change in run for word in ("--set", change)]
    target = [str(ROOT / "jobs" / "configs" / "mini.yaml"), *changes]
    _cpu_seconds("-m", "jobs.cli", "run", *target, "--in-process")
    imports = partial(_cpu_seconds, "-c", f"import {LIBRARIES}")
    for name, (verb, *options) in VERBS.items():
        arms = interleaved(partial(_cpu_seconds, "-m", "jobs.cli", verb, *target, *options), imports)
        said = f"{arms.medians[0]:.2f} s of CPU; baseline: {arms.medians[1]:.2f} s, import {LIBRARIES}"
        yield Measured(f"{name}_to_imports", arms.ratio, REPEATS, baseline_value=arms.medians[1], reason=said)


def _cpu_seconds(*arguments: str) -> float:
    """User and system time of a Python process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, cwd="/", env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
