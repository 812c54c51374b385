"""The runner contract, and the in-process runner."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.context import LocalContext, pick_device, set_threads
from pipeline.host import Host
from pipeline.resources import StageResources
from pipeline.stage import Done, Stage, Task, TrainStage
from pipeline.stopping import StopSignal
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
    stop: StopSignal = field(default_factory=StopSignal)


class Runner(Protocol):
    """Runs the shards of a stage; calls `on_done` for each committed shard, in any order."""

    def run(self, job: Job, on_done: OnDone) -> None:
        """Compute and commit every task. Raises StageFailed when a shard gives up, Stopped when `job.stop` is set."""

    def close(self) -> None:
        """Release what it holds."""


def trains_side_by_side(runner: Runner) -> bool:
    """Whether trainings may be given to a runner from several threads at once, to share its machines."""
    return bool(getattr(runner, "side_by_side", False))


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
                save_minutes = job.resources.save_minutes
                on_done(fit_in_process(job.stage, job.recipe, task, context, job.stop, save_minutes))
            return
        host = Host(job.stage, context)
        for task in job.tasks:
            job.stop.check()
            on_done(host.compute(job.recipe, task))

    def close(self) -> None:
        """Nothing is held."""
