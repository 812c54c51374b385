"""What every process that computes shards does: set up, compute, halve the batch when memory runs out, commit."""

import contextlib
import copy
import dataclasses
import errno
import logging
import time
from collections.abc import Iterator, Sequence

import pyarrow as pa

from pipeline.base.check_clock import CHECKS
from pipeline.base.errors import StageFailed
from pipeline.base.phase_clock import IDLE
from pipeline.contract.context import Context
from pipeline.contract.stage import AnyStage, Worker
from pipeline.store.records import Cost, Done, ShardResult, Task
from pipeline.worker.device import set_threads
from pipeline.worker.image_subset import ImageSubset
from pipeline.worker.local_context import LocalContext

_LOG = logging.getLogger("weakbox.worker")
_BATCH = "batch_size"


class ShardWorker:
    """Holds one stage's worker in one process, and sets up another one when the batch size changes."""

    def __init__(self, stage: AnyStage, context: LocalContext) -> None:
        self._stage = stage
        self._context = context
        self._halvings = 0
        self._worker: tuple[int, Worker] | None = (0, stage.worker(context))
        set_threads(context.threads)  # again, for libraries that the worker imported
        self._ended = time.perf_counter()

    def compute(self, recipe: str, task: Task, halvings: int = 0) -> Done:
        """Compute one shard and commit it.

        halvings: how often the batch size is halved at least, because the shard killed its process before. Batches are
        halved further while memory runs out. Raises StageFailed when the disk is full.
        """
        idle = time.perf_counter() - self._ended
        with _full_disk_in_words(self._stage.name):
            self._begin()
            result = self._result(self._context, task, halvings)
            done = self._commit(recipe, task, result, idle)
        self._ended = time.perf_counter()
        return done

    def compute_images(self, task: Task, image_ids: Sequence[str], halvings: int = 0) -> ShardResult:
        """The result of a divisible stage for some images of a shard."""
        return self._result(ImageSubset(self._context, image_ids), task, halvings)

    def join(self, recipe: str, task: Task, parts: Sequence[ShardResult]) -> Done:
        """Commit a shard that was computed in parts, given in order. Raises StageFailed like compute."""
        tables = {
            name: pa.concat_tables([part.tables[name] for part in parts if name in part.tables])
            for name in self._stage.outputs
        }
        rows_in = sum(part.rows_in for part in parts if part.rows_in is not None)
        quarantine = [row for part in parts for row in part.quarantine]
        with _full_disk_in_words(self._stage.name):
            self._begin()
            return self._commit(recipe, task, ShardResult(tables, {}, quarantine, rows_in or None), 0.0)

    def _begin(self) -> None:
        self._context.clock.begin()
        self._cpu, self._checking = time.process_time(), CHECKS.seconds

    def _result(self, context: Context, task: Task, halvings: int) -> ShardResult:
        self._halvings = max(self._halvings, min(halvings, halvings_left(self._stage, 0)))
        while True:
            try:
                return self._at_batch_size(context)(task)
            except Exception as error:
                if not is_out_of_memory(error) or not halvings_left(self._stage, self._halvings):
                    raise
                self._worker = None
            self._halvings += 1
            _LOG.warning("%s: out of memory, the batch is halved", self._stage.name)

    def _at_batch_size(self, context: Context) -> Worker:
        if context is not self._context:
            return with_smaller_batch(self._stage, self._halvings).worker(context)
        if self._worker is None or self._worker[0] != self._halvings:
            self._worker = None  # first free the memory of the old one
            self._worker = (self._halvings, with_smaller_batch(self._stage, self._halvings).worker(context))
        return self._worker[1]

    def _commit(self, recipe: str, task: Task, result: ShardResult, idle: float) -> Done:
        rows_in = task.rows_in(result) if self._stage.per_image else None
        phases = {**self._context.clock.end(), IDLE: idle}
        return self._context.store.commit(
            self._stage.name,
            recipe,
            task.shard.key,
            result,
            rows_in=rows_in,
            cost=Cost(phases, time.process_time() - self._cpu, CHECKS.seconds - self._checking),
        )


def with_smaller_batch(stage: AnyStage, halvings: int) -> AnyStage:
    """The stage with its batch size halved so many times; results do not depend on it."""
    if not halvings:
        return stage
    changed = copy.copy(stage)
    batch = max(1, getattr(stage.params, _BATCH) >> halvings)
    changed.params = dataclasses.replace(stage.params, **{_BATCH: batch})
    return changed


def halvings_left(stage: AnyStage, halvings: int) -> int:
    """How often the batch size can still be halved; 0 where the stage has none, or where it changes results."""
    known = dataclasses.fields(stage.params) if dataclasses.is_dataclass(stage.params) else ()
    halvable = any(field.name == _BATCH and field.metadata.get("resource") for field in known)
    batch: int = getattr(stage.params, _BATCH) if halvable else 1
    return max(0, batch.bit_length() - 1 - halvings)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's own error, or torch's, recognized by name because torch may be absent."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


@contextlib.contextmanager
def _full_disk_in_words(stage: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise StageFailed(
            f"{stage}: no space left where the run root is; make room, the same command continues"
        ) from error
