"""A whole pass of 1,281,167 rows in 1,282 shards with a trivial worker and the full commit protocol, on a local Ray.

In a process of its own, which imports what a driver needs of the pipeline and no stage: `python -m
benchmarks.trivial_pass ROOT IMAGES` prints one JSON object: seconds, peak resident memory of the driver, and the object
store's use after 100 shards and at the end. Ray's own start is not in the seconds.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray

from benchmarks.environment import processors
from jobs.ray_session import RaySession
from pipeline.base.params import option
from pipeline.base.stop_signal import StopSignal
from pipeline.contract.resources import Resources
from pipeline.contract.runner import Job, OnDone
from pipeline.contract.stage import Stage
from pipeline.running.progress import NoProgress
from pipeline.running.run import Run, RunOptions
from pipeline.store.records import Done, Shard, ShardResult, shard_key
from pipeline.store.store import Store
from schemas import TABLES

ROWS = 1000
EARLY = 100
MEGABYTES = 10**6


@dataclass(frozen=True)
class TrivialParams:
    """Parameters of `trivial`."""

    rows: int = option(ROWS, "rows of the whole stage")


class Trivial(Stage[TrivialParams]):
    """Predictions that cost nothing to make."""

    kind = "trivial"
    version = 1
    Params = TrivialParams
    outputs = ("predictions",)
    per_image = True

    def plan(self, recipe: str, inputs: Any) -> list[Shard]:
        """A thousand rows a shard."""
        starts = range(0, self.params.rows, ROWS)
        return [
            Shard(
                shard_key(recipe, {}, {"start": start}),
                args={"start": start},
                rows=min(ROWS, self.params.rows - start),
            )
            for start in starts
        ]

    def worker(self, context: Any) -> Any:
        """Needs no set-up."""
        return _rows


def _rows(task: Any) -> ShardResult:
    start, count = task.shard.args["start"], task.shard.rows
    columns: dict[str, Any] = {
        "image_id": [f"{number:09d}" for number in range(start, start + count)],
        "label": np.zeros(count, np.int32),
        "split": ["train"] * count,
        "method": ["trivial"] * count,
        "source": ["trivial"] * count,
        "image_height": np.full(count, 375, np.int32),
        "image_width": np.full(count, 500, np.int32),
    }
    schema = TABLES["predictions"].schema
    empty = {name: [None] * count for name in schema.names if name not in columns}
    table = TABLES["predictions"].empty()
    return ShardResult({"predictions": type(table).from_pydict({**columns, **empty}, schema=schema)})


class _Watched:
    """A runner that records the object store's use during the pass."""

    def __init__(self, runner: RaySession) -> None:
        self._runner = runner
        self.used: dict[int, float] = {}
        self._done = 0
        self.ended = 0.0

    def run(self, job: Job, on_done: OnDone) -> None:
        def watched(done: Done) -> None:
            on_done(done)
            self._done += 1
            if self._done in (EARLY, len(job.tasks)):
                self.used[self._done] = _object_store_used()

        self._runner.run(job, watched)

    def call_apart(self, check: Callable[[], None], stop: StopSignal) -> None:
        """Call a check as the session does."""
        self._runner.call_apart(check, stop)

    def close(self) -> None:
        """End the session, which is not part of the pass."""
        self.ended = time.perf_counter()
        self._runner.close()


def _object_store_used() -> float:
    name = "object_store_memory"
    return float(ray.cluster_resources().get(name, 0) - ray.available_resources().get(name, 0)) / MEGABYTES


def _peak_memory() -> float:
    """Peak resident memory of this process, MB. getrusage may report that of the parent that forked it."""
    with open("/proc/self/status", encoding="ascii") as file:
        (line,) = (line for line in file if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / MEGABYTES


def main(root: str, rows: int) -> None:
    """Run the pass and print its figures."""
    watched = _Watched(RaySession(None, processors()))
    stage = Trivial("trivial", TrivialParams(rows))
    started = time.perf_counter()
    Run({"trivial": stage}, Store(root), lambda: watched, Resources(), NoProgress(), RunOptions()).execute()
    seconds = watched.ended - started
    early, late = watched.used[EARLY], watched.used[max(watched.used)]
    print(json.dumps({"seconds": seconds, "driver": _peak_memory(), "store_growth": late - early, "store": late}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
