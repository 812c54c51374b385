"""The actor of the pool: one process, one stage's worker at a time."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import RayTaskError

from pipeline.context import LocalContext, pick_device, set_threads
from pipeline.errors import WeakboxError
from pipeline.host import Host
from pipeline.resources import StageResources
from pipeline.stage import Done, ShardResult, Stage, Task
from pipeline.store import Store


class PoolActor:
    """Lives in its own process; holds one stage's worker at a time, set up once."""

    def __init__(self, store: Store, resources: StageResources) -> None:
        threads = max(1, int(resources.cpus))
        set_threads(threads)
        self._context = LocalContext(store, device=pick_device(resources.gpus), threads=threads)
        self._host: Host | None = None

    def load(self, stage: Stage) -> str:
        """Set the stage's worker up. Returns the id of the node that the actor lives on."""
        self._host = None
        with _portable_errors():
            self._host = Host(stage, self._context)
        node: str = ray.get_runtime_context().get_node_id()
        return node

    def run(self, recipe: str, task: Task, halvings: int) -> Done:
        """Compute a shard and commit it."""
        with _portable_errors():
            return self._loaded.compute(recipe, task, halvings)

    def part(self, task: Task, image_ids: Sequence[str], halvings: int) -> ShardResult:
        """Compute some images of a shard."""
        with _portable_errors():
            return self._loaded.part(task, image_ids, halvings)

    def join(self, recipe: str, task: Task, *parts: ShardResult) -> Done:
        """Commit a shard that was computed in parts."""
        with _portable_errors():
            return self._loaded.join(recipe, task, parts)

    @property
    def _loaded(self) -> Host:
        assert self._host is not None, "load comes first"
        return self._host


def start_actor(store: Store, resources: StageResources) -> Any:
    """A new pool actor. Its death is seen by the pool, which replaces it; Ray neither restarts nor retries."""
    remote = ray.remote(PoolActor).options(
        num_cpus=resources.cpus,
        num_gpus=resources.gpus,
        memory=resources.memory,
        resources=dict(resources.custom) or None,
        label_selector=dict(resources.labels) or None,
        max_restarts=0,
        max_task_retries=0,
    )
    return remote.remote(store, resources)


class WorkerError(Exception):
    """An error of a worker in words."""


@contextlib.contextmanager
def _portable_errors() -> Iterator[None]:
    """Turn errors into words: those of some libraries (botocore, say) cannot travel between processes."""
    try:
        yield
    except WeakboxError:
        raise
    except Exception as error:
        raise WorkerError(short(error)) from error


def short(error: BaseException) -> str:
    """An error in one line: its type and the first line of its message."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    lines = str(cause).strip().splitlines() or [""]
    return lines[0] if isinstance(cause, WorkerError) else f"{type(cause).__name__}: {lines[0]}"
