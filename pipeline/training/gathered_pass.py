"""One pass over batches of images, divided over ranks; at its end rank 0 holds the results.

It is for trainings that look at each image once, without gradients. Batches do not depend on the number of ranks, which
take them in turn; so the results are the same bytes for any number of ranks (CPU, as many threads each), and another
number of ranks may continue from a checkpoint, which holds the results of all batches so far.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import distributed

from pipeline.base.errors import StageFailed
from pipeline.contract.context import Checkpoint, TrainContext
from pipeline.training.checkpoint_timer import CheckpointTimer

__all__ = ["Compute", "gathered_pass"]

Compute = Callable[[Sequence[int]], Iterator[torch.Tensor]]
"""Batch numbers -> the results of these batches in this order, on the rank's device, all of one shape and type."""

_RESULTS = "results"


def gathered_pass(compute: Compute, batches: int, context: TrainContext) -> torch.Tensor | None:
    """The results of all batches, ``(batches, ...)`` on the CPU, in their order; None on ranks but the first.

    What `compute` raises on one rank is raised there; the other ranks, which would wait for it, raise StageFailed with
    the same line. Checkpointed, stopped and resumed as the training loop is.
    """
    return _Pass(batches, context).run(compute)


class _Pass:
    """_done: how many batches have results. _results: theirs, and room for the rest; on rank 0 alone."""

    def __init__(self, batches: int, context: TrainContext) -> None:
        self._batches, self._context = batches, context
        self._timer = CheckpointTimer(context)
        self._results: torch.Tensor | None = None
        state = context.load()
        kept = None if state is None else state["network"][_RESULTS]
        self._done = 0 if kept is None else len(kept)
        if kept is not None and context.rank == 0:
            self._room(kept)[: self._done] = kept

    def run(self, compute: Compute) -> torch.Tensor | None:
        ranks, last = self._context.world_size, self._batches - 1
        turns = range(self._done + self._context.rank, self._done + self._rounds() * ranks, ranks)
        results = compute([min(number, last) for number in turns])  # a rank without a batch left repeats the last one
        for _ in turns:
            self._take(self._of_all(_attempt(results)))
            if self._timer.due():
                self._save()
        return self._results

    def _rounds(self) -> int:
        return -(-(self._batches - self._done) // self._context.world_size)

    def _of_all(self, result: torch.Tensor | Exception) -> list[torch.Tensor]:
        """The results of all ranks in their order, on rank 0; nothing elsewhere."""
        ranks, rank = self._context.world_size, self._context.rank
        if ranks > 1:
            said: list[str | None] = [None] * ranks
            distributed.all_gather_object(said, str(result) if isinstance(result, Exception) else None)
            failed = next((line for line in said if line is not None), None)
            if failed is not None and isinstance(result, torch.Tensor):
                raise StageFailed(failed)
        if isinstance(result, Exception):
            raise result
        if ranks == 1:
            return [result]
        parts = [torch.empty_like(result) for _ in range(ranks)] if rank == 0 else None
        distributed.gather(result.contiguous(), parts, dst=0)
        return parts or []

    def _take(self, parts: list[torch.Tensor]) -> None:
        stop = min(self._done + self._context.world_size, self._batches)
        if parts:
            room = self._room(parts[0][None])
            for number, part in zip(range(self._done, stop), parts, strict=False):
                room[number] = part
        self._done = stop

    def _room(self, like: torch.Tensor) -> torch.Tensor:
        if self._results is None:
            self._results = torch.empty((self._batches, *like.shape[1:]), dtype=like.dtype)
        return self._results

    def _save(self) -> None:
        """Save the results so far; never as a training's last checkpoint, as the results are still to be used."""
        results = torch.empty(0) if self._results is None else self._results[: self._done].clone()
        state: Checkpoint = {
            "network": {_RESULTS: results},
            "optimizer": {},
            "schedule": {},
            "further": [],
            "log": [],
            "running": {"total": 0.0, "further": 0.0, "steps": self._done, "images": 0},
            "points": [],
        }
        self._context.save(state, {"epoch": 0, "epochs": 1, "steps": self._done})
        self._timer.saved()


def _attempt(results: Iterator[torch.Tensor]) -> torch.Tensor | Exception:
    """The next result, or the exception raised instead."""
    try:
        return next(results)
    except Exception as error:  # images and their storage raise many types; it is raised again
        return error
