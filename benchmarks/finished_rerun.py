"""How long `weakbox run` takes on a run that is complete: 1,281,167 synthetic images in 1,282 shards.

Measured is the whole command in a process of its own, imports included. It starts Ray only when something is to be
computed, so here it does not; what a start of Ray would add is measured beside it.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.complete_run import CompleteRun
from benchmarks.figures import Measured
from benchmarks.pairs import REPEATS

IMAGES = 1_281_167
_ROOT = Path(__file__).parent.parent
_START_RAY = "from jobs.ray_session import RaySession; RaySession(None, None).close()"


def finished_rerun(folder: Path, images: int = IMAGES) -> Iterator[Measured]:
    """Seconds of a rerun of a finished run, of one whose shards are done but not yet a set, and of a start of Ray."""
    run = CompleteRun(folder, images)
    shards = f"{len(run.ranges)} shards a stage"

    def rerun() -> None:
        said = _command("-m", "jobs.cli", "run", str(run.config))
        if "nothing to do" not in said:
            raise RuntimeError(f"the rerun found something to do: {said}")

    yield _figure("finished_rerun", rerun, f"{shards}; the whole command, which has no need to start Ray")
    yield _figure("finish_of_done_shards", rerun, f"{shards}, done but not yet declared a set", before=run.unfinish)
    yield _figure("ray_start", lambda: _command("-c", _START_RAY), "a local Ray started and stopped, nothing else")


def _figure(name: str, call: Callable[[], object], reason: str, before: Callable[[], None] = lambda: None) -> Measured:
    """The median time of a call, the first one left out: it fills the disk cache."""
    seconds = []
    for _ in range(1 + REPEATS):
        before()
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return Measured(name, statistics.median(seconds[1:]), REPEATS, reason=reason, unit="s")


def _command(*arguments: str) -> str:
    """Run Python in the repository's root; returns what it says on stderr. Raises CalledProcessError if it fails."""
    done = subprocess.run([sys.executable, *arguments], cwd=_ROOT, check=True, capture_output=True, text=True)
    return done.stderr
