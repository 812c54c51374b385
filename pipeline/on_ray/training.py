"""Training on Ray Train: any number of workers, the same checkpoints in the store as without Ray.

Ray Train starts, watches and restarts the workers; it is given no checkpoints. Its own resuming rewrites a snapshot in
place, deletes checkpoints that a second run on the same root may be about to load, and refuses another Ray version: a
kill at the wrong moment would end a training for good. Rank 0 commits the model to the store itself, so a driver that
dies afterwards loses nothing.
"""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow.fs as pafs
import ray.train
import structlog
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import get_device

from pipeline.base.errors import StageFailed, Stopped, UsageError, WeakboxError
from pipeline.base.params import Parameters
from pipeline.base.stop_signal import STOPPED, StopSignal
from pipeline.contract.context import Checkpoint
from pipeline.contract.resources import StageResources
from pipeline.contract.runner import Job
from pipeline.contract.stage import TrainStage
from pipeline.on_ray.process_group import torch_config
from pipeline.on_ray.stop_flag import StopFlag
from pipeline.on_ray.trainer_process import TrainerProcess
from pipeline.store.encoding import read_progress, write_progress
from pipeline.store.layout import RAY_TRAIN, RecipeFolder
from pipeline.store.records import Done, Task
from pipeline.store.store import Store
from pipeline.training.checkpoint import dump_checkpoint, load_checkpoint, read_checkpoint, show_curves
from pipeline.worker.device import keep_freed_memory, set_threads
from pipeline.worker.local_context import LocalContext

T = TypeVar("T")
_LOG = structlog.get_logger("weakbox.train")
_FAILURES = 3
_PROGRESS_SECONDS = 2.0
_JOB = "job"


@dataclass(frozen=True)
class _TrainingJob:
    """What each worker computes, and with what."""

    stage: TrainStage[Parameters]
    recipe: str
    task: Task
    store: Store
    resources: StageResources
    roots: Mapping[str, str]

    @property
    def threads(self) -> int:
        """Threads of a worker."""
        return max(1, int(self.resources.cpus))


class RayTrainContext(LocalContext):
    """The TrainContext of one Ray Train worker."""

    def __init__(self, job: _TrainingJob) -> None:
        super().__init__(job.store, roots=job.roots, device=get_device().type, threads=job.threads)
        train = ray.train.get_context()
        self.rank = train.get_world_rank()
        self.world_size = train.get_world_size()
        self.micro_batch = job.resources.micro_batch
        self._save_seconds = 60 * job.resources.save_minutes
        self._folder, self._key = RecipeFolder(job.stage.name, job.recipe), job.task.shard.key
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
        """Rank 0 replaces the checkpoint; then report to Ray Train, which is a barrier for all ranks.

        Raises Stopped on all ranks if the driver requested a stop, except at the last checkpoint.
        """
        if self.rank == 0:
            self.store.files.put(self._folder.checkpoint(self._key), dump_checkpoint(state))
            show_curves(self, self._folder.event_files(self._key), state)
            self.store.write(self._folder.progress(self._key), write_progress(progress))
        ray.train.report(dict(progress))
        if progress["epoch"] < progress["epochs"] and self._of_first(self.rank == 0 and self._stop.raised):
            raise Stopped(STOPPED)

    def _of_first(self, value: T) -> T:
        """Rank 0's value, on all ranks."""
        held = [value]
        if self.world_size > 1:
            torch.distributed.broadcast_object_list(held, src=0)
        return held[0]


def fit_on_ray(stage: TrainStage[Parameters], job: Job, task: Task) -> Done:
    """Train one shard of a job, whose stage is `stage`, on Ray Train workers and return its manifest.

    Raises:
        StageFailed: the training failed for good; the line holds the cause.
        Stopped: the workers saw the stop signal, saved and ended, all within seconds; or none had begun.
    """
    store, filesystem, base, local = job.store, *job.store.files.filesystem
    folder, key = RecipeFolder(stage.name, job.recipe), task.shard.key
    training = _TrainingJob(stage, job.recipe, task, store, job.resources, job.roots)
    for path in (folder.refused(key), folder.begun(key), folder.stop(key)):
        store.files.remove(path)
    trainer = TrainerProcess(
        train_loop_per_worker=_train_worker,
        train_loop_config={_JOB: training},
        torch_config=torch_config(),
        scaling_config=scaling(job.resources),
        run_config=RunConfig(
            name=f"{key}-{uuid.uuid4().hex[:8]}",  # unique, so that Ray Train resumes nothing
            storage_path=f"{base}/{folder.area(RAY_TRAIN)}",
            storage_filesystem=None if local else pafs.PyFileSystem(pafs.FSSpecHandler(filesystem)),
            failure_config=FailureConfig(max_failures=_FAILURES),
        ),
    )
    _follow(trainer, folder, key, store, job.stop)
    done = store.done(stage.name, job.recipe, [key])
    if key not in done:
        job.stop.check()
        raise _refusal(store, folder.refused(key), stage.name)
    return done[key]


def scaling(resources: StageResources) -> ScalingConfig:
    """What Ray Train is asked for: the number of workers, and CPUs, GPUs (a fraction or several) and so on of each."""
    asked: dict[str, Any] = {"num_workers": resources.actors or 1, "use_gpu": resources.gpus > 0}
    if resources.labels:
        asked["label_selector"] = dict(resources.labels)
    return ScalingConfig(resources_per_worker={"CPU": resources.cpus, **resources.needs()}, **asked)


def _train_worker(config: dict[str, _TrainingJob]) -> None:
    started, job = time.perf_counter(), config[_JOB]
    stage, recipe, task, store = job.stage, job.recipe, job.task, job.store
    set_threads(job.threads)
    keep_freed_memory()
    key = task.shard.key
    context = RayTrainContext(job)
    try:
        result = stage.fit(task, context)
    except Stopped:
        return
    except WeakboxError as error:  # trying again cannot mend it, so Ray must not see a failure
        refused = RecipeFolder(stage.name, recipe).refused(key)
        store.write(refused, {"exit_code": error.exit_code, "error": str(error)})
        return
    if context.rank == 0:
        store.commit(stage.name, recipe, key, result, seconds=time.perf_counter() - started)


def _follow(trainer: TrainerProcess, folder: RecipeFolder, key: str, store: Store, stop: StopSignal) -> None:
    """Wait for a training, log each checkpoint that its workers report, and hand on the stop signal."""
    stage, path = folder.stage, folder.progress(key)
    ended, told, said = False, False, store.read(path, read_progress)
    while not ended:
        try:
            ended = trainer.ended(_PROGRESS_SECONDS)
        except Exception as error:
            raise _cause(error, stage) from error
        now = store.read(path, read_progress)
        if now is not None and now != said:
            said = now
            _LOG.info("training", stage=stage, **now)
        if stop.requested and not told and not ended:
            if not store.files.exists(folder.begun(key)):
                trainer.end()  # it waits for machines, or its workers are starting: nothing needs saving
                stop.check()
            store.files.put(folder.stop(key), b"")
            told = True


def _refusal(store: Store, path: str, stage: str) -> WeakboxError:
    """The error that a worker wrote down when it gave up."""
    said = store.read(path, dict)
    if said is None:
        return StageFailed(f"{stage}: the training ended without a model")
    kind = UsageError if said.get("exit_code") == UsageError.exit_code else StageFailed
    return kind(str(said.get("error")))


def _cause(error: Exception, stage: str) -> WeakboxError:
    failures = list(getattr(error, "worker_failures", {}).values())
    cause: BaseException = failures[0] if failures else error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    cause = getattr(cause, "cause", cause)
    if isinstance(cause, WeakboxError):
        return cause
    lines = str(cause).strip().splitlines() or [""]
    return StageFailed(f"{stage}: training failed: {type(cause).__name__}: {lines[-1]}")
