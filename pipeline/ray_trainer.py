"""Training on Ray Train: any number of workers, Ray's own checkpoints on the run root's file system.

Ray Train resumes by storage path and name and never looks at the configuration: the recipe and the shard's key are in
them. Rank 0 commits the model to the store itself, so a driver that dies afterwards loses nothing.
"""

import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow.fs as pafs
import ray.train
import structlog
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, get_device

from pipeline.context import LocalContext, set_threads
from pipeline.errors import StageFailed, WeakboxError
from pipeline.resources import StageResources
from pipeline.stage import Done, Task, TrainStage
from pipeline.store import Store
from pipeline.trainer import dump_state, load_state

_LOG = structlog.get_logger("weakbox.train")
_STATE = "state.pt"
_FAILURES = 3
_PROGRESS_SECONDS = 2.0


class RayTrainContext(LocalContext):
    """The TrainContext of one Ray Train worker."""

    def __init__(self, store: Store, threads: int, progress: str) -> None:
        super().__init__(store, device=get_device().type, threads=threads)
        train = ray.train.get_context()
        self.rank = train.get_world_rank()
        self.world_size = train.get_world_size()
        self._progress = progress

    def load(self) -> dict[str, Any] | None:
        """The newest checkpoint, or None."""
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            return None
        with checkpoint.as_directory() as folder, open(os.path.join(folder, _STATE), "rb") as file:
            return load_state(file.read())

    def save(self, state: dict[str, Any], progress: Mapping[str, float]) -> None:
        """Report to Ray Train (a barrier for all ranks); rank 0 hands over the checkpoint."""
        metrics = dict(progress)
        if self.rank == 0:
            self.store.files.put(self._progress, json.dumps(metrics).encode())
        else:
            ray.train.report(metrics, checkpoint=None)
            return
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, _STATE), "wb") as file:
                file.write(dump_state(state))
            ray.train.report(metrics, checkpoint=Checkpoint.from_directory(folder))


def fit_on_ray(stage: TrainStage, recipe: str, task: Task, store: Store, resources: StageResources) -> Done:
    """Train one shard on Ray Train workers and return its manifest.

    Raises:
        StageFailed: the training failed for good; the line holds the cause.
    """
    filesystem, base, local = store.files.filesystem
    folder = f"{base}/{stage.name}/{recipe}/train"
    workers = resources.actors or 1
    trainer = TorchTrainer(
        _train_worker,
        train_loop_config={
            "stage": stage,
            "recipe": recipe,
            "task": task,
            "store": store,
            "threads": max(1, int(resources.cpus)),
        },
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=resources.gpus > 0,
            resources_per_worker={"CPU": resources.cpus, **({"GPU": resources.gpus} if resources.gpus > 0 else {})},
        ),
        run_config=RunConfig(
            name=task.shard.key,
            storage_path=folder,
            storage_filesystem=None if local else pafs.PyFileSystem(pafs.FSSpecHandler(filesystem)),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
            failure_config=FailureConfig(max_failures=_FAILURES),
        ),
    )
    with _progress_log(store, _progress_path(stage, recipe, task), stage.name):
        try:
            trainer.fit()
        except Exception as error:
            raise _cause(error, stage.name) from error
    done = store.done(stage.name, recipe, [task.shard.key])
    if task.shard.key not in done:
        raise StageFailed(f"{stage.name}: the training ended without a model")
    return done[task.shard.key]


def _train_worker(config: dict[str, Any]) -> None:
    started = time.perf_counter()
    stage, recipe, task, store = config["stage"], config["recipe"], config["task"], config["store"]
    set_threads(config["threads"])
    context = RayTrainContext(store, config["threads"], _progress_path(stage, recipe, task))
    result = stage.fit(task, context)
    if context.rank == 0:
        store.commit(stage.name, recipe, task.shard.key, result, seconds=time.perf_counter() - started)


def _progress_path(stage: TrainStage, recipe: str, task: Task) -> str:
    return f"{stage.name}/{recipe}/progress/{task.shard.key}.json"


@contextlib.contextmanager
def _progress_log(store: Store, path: str, stage: str) -> Iterator[None]:
    """Log each epoch that the workers report while the block runs; they are other processes, maybe other machines."""
    ended = threading.Event()

    def watch() -> None:
        said = store.files.get_many([path]).get(path)
        while not ended.wait(_PROGRESS_SECONDS):
            now = store.files.get_many([path]).get(path)
            if now is not None and now != said:
                said = now
                _LOG.info("training", stage=stage, **json.loads(now))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


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
