"""The runner that needs no Ray: one shard after another in this process."""

from collections.abc import Callable

from pipeline.base.stop_signal import StopSignal
from pipeline.contract.runner import Job, OnDone
from pipeline.contract.stage import TrainStage
from pipeline.training.in_process import Say, fit_in_process
from pipeline.worker.device import keep_freed_memory, pick_device, set_threads
from pipeline.worker.local_context import LocalContext
from pipeline.worker.shard_worker import ShardWorker


class InProcessRunner:
    """For tests, tiny data and bare machines. told: called with the progress of trainings."""

    def __init__(self, threads: int = 1, told: Say | None = None) -> None:
        self._threads = threads
        self._told = told

    def run(self, job: Job, on_done: OnDone) -> None:
        """Compute every task here."""
        threads = max(1, int(job.resources.cpus)) if job.resources.cpus else self._threads
        set_threads(threads)
        device = pick_device(job.resources.gpus)
        context = LocalContext(job.store, roots=job.roots, device=device, threads=threads)
        if isinstance(job.stage, TrainStage):
            keep_freed_memory()
            for task in job.tasks:
                on_done(fit_in_process(job.stage, job.recipe, task, context, job.stop, job.resources, self._told))
            return
        worker = ShardWorker(job.stage, context)
        for task in job.tasks:
            job.stop.check()
            on_done(worker.compute(job.recipe, task))

    def call_apart(self, check: Callable[[], None], stop: StopSignal) -> None:
        """Call a check here, where the stages will run too."""
        stop.check()
        check()

    def close(self) -> None:
        """No-op: nothing is held."""
