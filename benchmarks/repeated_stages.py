"""Stages of a run that are computed again and again on one warm Ray, and their images per second."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.base.stop_signal import StopSignal
from pipeline.config.run_config import parse_config
from pipeline.contract.runner import Job, OnDone, Runner
from pipeline.planning.plan import make_plan
from pipeline.running.in_process import InProcessRunner
from pipeline.running.progress import NoProgress, Progress
from pipeline.running.run import Run, RunOptions
from pipeline.store.records import ShardResult
from pipeline.store.store import Store
from schemas import TABLES
from stages import catalog


class RepeatedStages:
    """A run over the images below `folder`/images whose given stages are computed again and again.

    stages: config entries besides ingest and classify. shard: images a shard. threads: CPUs of Ray. actors: None: as
    many as fit.
    """

    def __init__(
        self,
        folder: Path,
        backbone: str,
        stages: Mapping[str, Mapping[str, Any]],
        shard: int,
        threads: int,
        actors: int | None = None,
    ) -> None:
        config = parse_config(
            {
                "run_root": str(folder / "run"),
                "dataset": {
                    "reader": "folder",
                    "root": str(folder / "images"),
                    "shard_size": shard,
                    "dev_fraction": 0.0,
                },
                "stages": {"classify": {"backbone": backbone, "epochs": 0}, **stages},
                "resources": {"num_cpus": threads, "actors": actors},
            }
        )
        self._names = tuple(stages)
        self._processes = actors or threads
        self._stages = config.stage_objects(catalog)
        self._store = Store(config.run_root)
        self._resources = config.resources.resources()

    def prepare(self, model: dict[str, bytes]) -> None:
        """Ingest the images and commit the classifier."""
        self._run(InProcessRunner(), NoProgress(), RunOptions(only="ingest"))
        classify = make_plan(self._stages, self._store)["classify"]
        result = ShardResult({"training": TABLES["training"].empty()}, model)
        self._store.commit(classify.name, classify.recipe.id, classify.keys[0], result)

    def rate(self, runner: Runner, stages: Sequence[str] | None = None) -> float:
        """Images per second of these stages (None: of all), one after the other, in one pass of all."""
        times = CommitTimes()
        self._run(_Kept(runner), times, RunOptions(force=self._names))
        return 1 / sum(1 / rate(times.commits[name], self._processes) for name in stages or self._names)

    def _run(self, runner: Runner, progress: Progress, options: RunOptions) -> None:
        Run(self._stages, self._store, lambda: runner, self._resources, progress, options).execute()


def rate(commits: Sequence[tuple[float, int]], processes: int) -> float:
    """Rows per second once each process has done a shard; commits: (moment in seconds, rows), in any order.

    Counted from the first commit, processes that commit at the same time would seem faster than others.
    """
    ordered = sorted(commits)
    return sum(rows for _, rows in ordered[processes:]) / (ordered[-1][0] - ordered[processes - 1][0])


class CommitTimes:
    """A Progress that only remembers when each shard was committed: stage -> [(moment, rows)]."""

    def __init__(self) -> None:
        self.commits: dict[str, list[tuple[float, int]]] = {}

    @contextmanager
    def stage(self, name: str, shards: int, done: int) -> Iterator["_Clock"]:
        """Watch one stage."""
        yield _Clock(self.commits.setdefault(name, []))


class _Clock:
    def __init__(self, commits: list[tuple[float, int]]) -> None:
        self._commits = commits

    def advance(self, rows: int, bad: int) -> None:
        self._commits.append((time.monotonic(), rows))


class _Kept:
    """A runner that outlives the runs that use it: its actors stay warm."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def run(self, job: Job, on_done: OnDone) -> None:
        self._runner.run(job, on_done)

    def call_apart(self, check: Callable[[], None], stop: StopSignal) -> None:
        """Call a check as the kept runner does."""
        self._runner.call_apart(check, stop)

    def close(self) -> Any:
        """Do nothing: the session that made the runner ends it, after the last pass."""
