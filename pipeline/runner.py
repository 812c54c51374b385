"""The runner contract, what every runner does with one shard, and the in-process runner."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.context import LocalContext, pick_device, set_threads
from pipeline.resources import StageResources
from pipeline.stage import Done, Stage, Task, TrainStage, Worker
from pipeline.store import Store
from pipeline.trainer import fit_in_process

OnDone = Callable[[Done], None]


@dataclass(frozen=True)
class Job:
    """The shards of one stage that are to be computed, and where."""

    stage: Stage
    recipe: str
    tasks: Sequence[Task]
    store: Store
    resources: StageResources


class Runner(Protocol):
    """Runs the shards of a stage; calls `on_done` for each committed shard, in any order."""

    def run(self, job: Job, on_done: OnDone) -> None:
        """Compute and commit every task. Raises StageFailed when a shard gives up."""

    def close(self) -> None:
        """Release what it holds."""


def compute(stage: Stage, recipe: str, worker: Worker, task: Task, store: Store) -> Done:
    """Compute one shard and commit it. Both runners do exactly this."""
    started = time.perf_counter()
    result = worker(task)
    rows_in = task.rows_in(result) if stage.per_image else None
    seconds = time.perf_counter() - started
    return store.commit(stage.name, recipe, task.shard.key, result, rows_in=rows_in, seconds=seconds)


class InProcessRunner:
    """One shard after another in this process: for tests, tiny data and bare machines without Ray."""

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads

    def run(self, job: Job, on_done: OnDone) -> None:
        """Compute every task here."""
        threads = max(1, int(job.resources.cpus)) if job.resources.cpus else self._threads
        set_threads(threads)
        context = LocalContext(job.store, device=pick_device(job.resources.gpus), threads=threads)
        if isinstance(job.stage, TrainStage):
            for task in job.tasks:
                on_done(fit_in_process(job.stage, job.recipe, task, context))
            return
        worker = job.stage.worker(context)
        for task in job.tasks:
            on_done(compute(job.stage, job.recipe, worker, task, job.store))

    def close(self) -> None:
        """Nothing is held."""
