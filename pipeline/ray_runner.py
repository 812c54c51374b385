"""The Ray runner: a pool of stateful actors fed shard descriptions, a bounded number in flight.

ray.util.ActorPool is not used: it waits for ever for an actor whose node is gone. Here an actor's death puts its
shards back into the queue (Ray retries nothing by itself), the pool lives with fewer actors and replaces lost ones.
"""

import contextlib
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any

import ray
import structlog
from ray.exceptions import RayError, RayTaskError

from pipeline.context import LocalContext, pick_device, set_threads
from pipeline.errors import StageFailed, WeakboxError
from pipeline.resources import StageResources
from pipeline.runner import Job, OnDone, compute
from pipeline.stage import Done, Stage, Task, TrainStage, Worker
from pipeline.store import Store

_LOG = structlog.get_logger("weakbox.ray")
_IN_FLIGHT = 2
_ATTEMPTS = 3
_LOSSES = 10
_PLACEMENT_SECONDS = 60.0
_SETTLE_SECONDS = 30.0


class _Actor:
    """Lives in its own process; holds one stage's worker at a time, set up once."""

    def __init__(self, store: Store, resources: StageResources) -> None:
        threads = max(1, int(resources.cpus))
        set_threads(threads)
        self._context = LocalContext(store, device=pick_device(resources.gpus), threads=threads)
        self._stage: Stage | None = None
        self._worker: Worker | None = None

    def load(self, stage: Stage) -> None:
        self._worker = None
        with _portable_errors():
            self._stage, self._worker = stage, stage.worker(self._context)

    def run(self, recipe: str, task: Task) -> Done:
        assert self._stage is not None and self._worker is not None, "load comes first"
        with _portable_errors():
            return compute(self._stage, recipe, self._worker, task, self._context.store)


class _WorkerError(Exception):
    """An error of a worker in words."""


@contextlib.contextmanager
def _portable_errors() -> Iterator[None]:
    """Turn errors into words: those of some libraries (botocore, say) cannot travel between processes."""
    try:
        yield
    except WeakboxError:
        raise
    except Exception as error:
        raise _WorkerError(_short(error)) from error


class RayRunner:
    """Runs shards on a pool of actors; the pool is kept for the next stage that takes the same resources."""

    def __init__(self) -> None:
        self._actors: list[Any] = []
        self._shape: StageResources | None = None

    def run(self, job: Job, on_done: OnDone) -> None:
        """Compute every task on the pool; trainings go to Ray Train."""
        if isinstance(job.stage, TrainStage):
            from pipeline.ray_trainer import fit_on_ray  # Ray Train takes seconds to import, in every pool actor too

            self.close()
            for task in job.tasks:
                on_done(fit_on_ray(job.stage, job.recipe, task, job.store, job.resources))
            return
        wanted = self._fit_pool(job)
        _Feed(job, self._actors, wanted).run(on_done)

    def close(self) -> None:
        """End the pool's actors."""
        for actor in self._actors:
            ray.kill(actor)
        self._actors.clear()
        self._shape = None

    def _fit_pool(self, job: Job) -> int:
        wanted = min(pool_size(job.resources), len(job.tasks))
        if self._shape != job.resources.shape():
            self.close()
        self._shape = job.resources.shape()
        while len(self._actors) < wanted:
            self._actors.append(start_actor(job.store, job.resources))
        return wanted


def start_actor(store: Store, resources: StageResources) -> Any:
    """A new pool actor. Its death is seen by the feed, which replaces it; Ray neither restarts nor retries."""
    remote = ray.remote(_Actor).options(
        num_cpus=resources.cpus,
        num_gpus=resources.gpus,
        memory=resources.memory,
        max_restarts=0,
        max_task_retries=0,
    )
    return remote.remote(store, resources)


def pool_size(resources: StageResources) -> int:
    """How many actors of these resources the cluster holds, or the number asked for if that is smaller.

    Raises:
        StageFailed: not even one fits; the line names the resource that is missing.
    """
    have = ray.cluster_resources()
    fits = float("inf")
    for name, need in (("CPU", resources.cpus), ("GPU", resources.gpus), ("memory", resources.memory or 0)):
        if need > 0:
            fits = min(fits, have.get(name, 0.0) // need)
            if fits < 1:
                raise StageFailed(f"one actor needs {need:g} {name}, the cluster has {have.get(name, 0.0):g}")
    most = int(fits) if fits != float("inf") else 1
    return most if resources.actors is None else min(resources.actors, most)


class _Feed:
    """Feeds the shards of one job to actors and survives the death of any of them."""

    def __init__(self, job: Job, pool: list[Any], wanted: int) -> None:
        self._job = job
        self._pool = pool
        self._wanted = wanted
        self._queue = deque(job.tasks)
        self._failures: Counter[str] = Counter()
        self._running: dict[Any, tuple[Any, Task]] = {}
        self._loading: dict[Any, Any] = {}
        self._load: dict[Any, int] = {}
        self._losses = 0

    def run(self, on_done: OnDone) -> None:
        for actor in self._pool[: self._wanted]:
            self._open(actor)
        started = time.monotonic()
        while self._queue or self._running:
            self._fill()
            ready, _ = ray.wait([*self._loading, *self._running], num_returns=1, timeout=1.0)
            for ref in ready:
                self._collect(ref, on_done)
            if not self._load and time.monotonic() - started > _PLACEMENT_SECONDS:
                _LOG.warning("no actor is ready yet", stage=self._job.stage.name, free=ray.available_resources())
                started = time.monotonic()

    def _open(self, actor: Any) -> None:
        self._loading[actor.load.remote(self._job.stage)] = actor

    def _fill(self) -> None:
        for actor, load in self._load.items():
            while load < _IN_FLIGHT and self._queue:
                task = self._queue.popleft()
                self._running[actor.run.remote(self._job.recipe, task)] = (actor, task)
                load += 1
            self._load[actor] = load

    def _collect(self, ref: Any, on_done: OnDone) -> None:
        if ref in self._loading:
            self._opened(ref)
            return
        actor, task = self._running[ref]
        try:
            done = ray.get(ref)
        except RayTaskError as error:
            del self._running[ref]
            self._load[actor] -= 1
            self._failed(task, error)
        except RayError as error:
            self._died(actor, error, on_done)
        else:
            del self._running[ref]
            self._load[actor] -= 1
            self._losses = 0
            on_done(done)

    def _died(self, actor: Any, error: Exception, on_done: OnDone) -> None:
        """Charge the shard that the actor was at with an attempt; those that waited behind it go back uncharged."""
        self._lost(actor, error)
        held = [(ref, task) for ref, (holder, task) in self._running.items() if holder is actor]
        charged = False
        for ref, task in held:
            del self._running[ref]
            done = _finished(ref)
            if done is not None:
                on_done(done)
            elif charged:
                self._queue.appendleft(task)
            else:
                charged = True
                self._failed(task, error)

    def _opened(self, ref: Any) -> None:
        actor = self._loading.pop(ref)
        try:
            ray.get(ref)
        except RayTaskError as error:
            raise _as_stage_error(error, self._job.stage.name) from error
        except RayError as error:
            self._lost(actor, error)
        else:
            self._load[actor] = 0

    def _failed(self, task: Task, error: Exception) -> None:
        key = task.shard.key
        self._failures[key] += 1
        if isinstance(error, RayTaskError) and isinstance(error.cause, WeakboxError):
            raise error.cause
        if self._failures[key] >= _ATTEMPTS:
            raise _as_stage_error(error, f"{self._job.stage.name}: shard {key} failed {_ATTEMPTS} times")
        _LOG.warning("shard failed, trying again", stage=self._job.stage.name, shard=key, error=_short(error))
        self._queue.append(task)

    def _lost(self, actor: Any, error: Exception) -> None:
        self._losses += 1
        if self._losses > _LOSSES:
            raise StageFailed(f"{self._job.stage.name}: {_LOSSES} actors lost without one shard done: {_short(error)}")
        _LOG.warning("actor lost, replacing it", stage=self._job.stage.name, error=_short(error))
        ray.kill(actor)  # it may only be unreachable, and would keep the resources that its replacement needs
        self._pool.remove(actor)
        self._load.pop(actor, None)
        replacement = start_actor(self._job.store, self._job.resources)
        self._pool.append(replacement)
        self._open(replacement)


def _finished(ref: Any) -> Done | None:
    try:
        done: Done = ray.get(ref, timeout=_SETTLE_SECONDS)
    except RayError:
        return None
    return done


def _as_stage_error(error: Exception, what: str) -> StageFailed | WeakboxError:
    cause = error.cause if isinstance(error, RayTaskError) else error
    return cause if isinstance(cause, WeakboxError) else StageFailed(f"{what}: {_short(error)}")


def _short(error: Exception) -> str:
    cause = error.cause if isinstance(error, RayTaskError) else error
    lines: Sequence[str] = str(cause).strip().splitlines() or [""]
    return lines[0] if isinstance(cause, _WorkerError) else f"{type(cause).__name__}: {lines[0]}"
