"""One worker of a training on Ray: the only one, or one of Ray Train's."""

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch

from pipeline.base.errors import Stopped, WeakboxError
from pipeline.base.stop_signal import STOPPED
from pipeline.contract.context import Checkpoint
from pipeline.on_ray.stop_flag import StopFlag
from pipeline.on_ray.training_job import TrainingJob
from pipeline.store.encoding import write_progress
from pipeline.training.checkpoint import dump_checkpoint, load_checkpoint, read_checkpoint, show_curves
from pipeline.worker.device import keep_freed_memory, pick_device, set_threads
from pipeline.worker.local_context import LocalContext

T = TypeVar("T")
Report = Callable[[dict[str, float]], None]
"""Told of the progress at each checkpoint, by every rank at once."""


class WorkerContext(LocalContext):
    """The TrainContext of one worker; the ranks of several are joined by torch.distributed."""

    def __init__(self, job: TrainingJob, device: str, rank: int, world_size: int, report: Report | None) -> None:
        super().__init__(job.store, roots=job.roots, device=device, threads=job.threads)
        self.rank = rank
        self.world_size = world_size
        self._report = report
        self.micro_batch = job.resources.micro_batch
        self._save_seconds = 60 * job.resources.save_minutes
        self._folder, self._key = job.folder, job.key
        self._stop = StopFlag(job.store, self._folder.stop(self._key))

    @property
    def save_seconds(self) -> float:
        """Seconds between two checkpoints, 0 once the driver requested a stop; the value of rank 0 counts."""
        return 0.0 if self._stop.raised else self._save_seconds

    def load(self) -> Checkpoint | None:
        """The newest checkpoint, or None. Rank 0 reads it for all: a second run may replace it at any moment."""
        path = self._folder.checkpoint(self._key)
        data = self._of_first(read_checkpoint(self.store, path) if self.rank == 0 else None)
        state = None if data is None else load_checkpoint(data, self.store.files.full(path))
        if self.rank == 0:
            show_curves(self, self._folder.event_files(self._key), state)
            self.store.files.put(self._folder.begun(self._key), b"")
        return state

    def save(self, state: Checkpoint, progress: Mapping[str, float]) -> None:
        """Rank 0 replaces the checkpoint; then report, which is a barrier for all ranks.

        Raises Stopped on all ranks if the driver requested a stop, except at the last checkpoint.
        """
        if self.rank == 0:
            self.store.files.put(self._folder.checkpoint(self._key), dump_checkpoint(state))
            show_curves(self, self._folder.event_files(self._key), state)
            self.store.write(self._folder.progress(self._key), write_progress(progress))
        if self._report is not None:
            self._report(dict(progress))
        if progress["epoch"] < progress["epochs"] and self._of_first(self.rank == 0 and self._stop.raised):
            raise Stopped(STOPPED)

    def _of_first(self, value: T) -> T:
        """Rank 0's value, on all ranks."""
        held = [value]
        if self.world_size > 1:
            torch.distributed.broadcast_object_list(held, src=0)
        return held[0]


def train_alone(job: TrainingJob) -> None:
    """Train as the only worker, and commit the model; a refusal is written down for the driver to read."""
    train_worker(job, pick_device(job.resources.gpus), rank=0, world_size=1, report=None)


def train_worker(job: TrainingJob, device: str, rank: int, world_size: int, report: Report | None) -> None:
    """Train as one of `world_size` workers; rank 0 commits the model. report: called at each checkpoint."""
    started = time.perf_counter()
    set_threads(job.threads)
    keep_freed_memory()
    context = WorkerContext(job, device, rank, world_size, report)
    try:
        result = job.stage.fit(job.task, context)
    except Stopped:
        return
    except WeakboxError as error:  # trying again cannot mend it, so Ray must not see a failure
        job.store.write(job.folder.refused(job.key), {"exit_code": error.exit_code, "error": str(error)})
        return
    if context.rank == 0:
        job.store.commit(job.stage.name, job.recipe, job.key, result, seconds=time.perf_counter() - started)
