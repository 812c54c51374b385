"""The actor of the pool: one process, one stage's worker at a time."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import ray
from ray import ObjectRef
from ray.exceptions import RayTaskError

from pipeline.base.errors import WeakboxError
from pipeline.contract.resources import StageResources
from pipeline.contract.stage import AnyStage
from pipeline.on_ray.place import place
from pipeline.store.records import Done, ShardResult, Task
from pipeline.store.store import Store
from pipeline.worker.device import pick_device, set_threads
from pipeline.worker.local_context import LocalContext
from pipeline.worker.shard_worker import ShardWorker

Result = Done | ShardResult | str
"""What a method of an actor returns."""


class RemoteMethod(Protocol):
    """A method of an actor."""

    def remote(self, *arguments: object) -> "ObjectRef[Result]":
        """Call it; returns a reference to the result."""


class Actor(Protocol):
    """A handle of a `PoolActor`."""

    @property
    def load(self) -> RemoteMethod:
        """`PoolActor.load`."""

    @property
    def run(self) -> RemoteMethod:
        """`PoolActor.run`."""

    @property
    def compute_images(self) -> RemoteMethod:
        """`PoolActor.compute_images`."""

    @property
    def join(self) -> RemoteMethod:
        """`PoolActor.join`."""

    @property
    def __ray_ready__(self) -> RemoteMethod:
        """Answers as soon as the actor lives."""


class PoolActor:
    """Lives in its own process; holds one stage's worker at a time, set up once."""

    def __init__(self, store: Store, roots: Mapping[str, str], resources: StageResources) -> None:
        threads = max(1, int(resources.cpus))
        set_threads(threads)
        device = pick_device(resources.gpus)
        self._context = LocalContext(store, roots=roots, device=device, threads=threads)
        self._worker: ShardWorker | None = None

    def load(self, stage: AnyStage) -> str:
        """Set up the stage's worker. Returns the id of the node that the actor lives on."""
        self._worker = None
        with _portable_errors():
            self._worker = ShardWorker(stage, self._context)
        node: str = ray.get_runtime_context().get_node_id()
        return node

    def run(self, recipe: str, task: Task, halvings: int) -> Done:
        """Compute a shard and commit it."""
        with _portable_errors():
            return self._loaded.compute(recipe, task, halvings)

    def compute_images(self, task: Task, image_ids: Sequence[str], halvings: int) -> ShardResult:
        """Compute some images of a shard."""
        with _portable_errors():
            return self._loaded.compute_images(task, image_ids, halvings)

    def join(self, recipe: str, task: Task, *parts: ShardResult) -> Done:
        """Commit a shard that was computed in parts."""
        with _portable_errors():
            return self._loaded.join(recipe, task, parts)

    @property
    def _loaded(self) -> ShardWorker:
        assert self._worker is not None, "load comes first"
        return self._worker


def start_actor(store: Store, roots: Mapping[str, str], resources: StageResources) -> Actor:
    """A new pool actor. The pool notices its death and replaces it; Ray neither restarts nor retries."""
    remote = ray.remote(PoolActor).options(
        **place(resources),
        max_restarts=0,
        max_task_retries=0,
    )
    actor: Actor = remote.remote(store, roots, resources)  # type: ignore[assignment]  # Ray types no method of a handle
    return actor


def end_actor(actor: Actor) -> None:
    """Kill a pool actor."""
    ray.kill(actor)  # type: ignore[arg-type]  # it is a handle


class WorkerError(Exception):
    """An error of a worker as text."""


@contextlib.contextmanager
def _portable_errors() -> Iterator[None]:
    """Turn errors into text, as those of some libraries (botocore, say) cannot be pickled."""
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
