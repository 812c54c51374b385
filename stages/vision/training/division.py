"""How the images of a training step are divided over workers, and a worker's share into micro batches."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

__all__ = ["Workers", "divide", "share"]


class Workers(Protocol):
    """This rank among the workers of a training, and how much it computes at once."""

    @property
    def rank(self) -> int:
        """This rank."""

    @property
    def world_size(self) -> int:
        """Number of workers."""

    @property
    def micro_batch(self) -> int | None:
        """The most images that a rank puts through the network at once; None: its whole share."""


def divide(images: int, workers: Workers, together: int = 1) -> tuple[slice, ...]:
    """The micro batches of this rank: which images of each step, 0 to `images`, each of them holds.

    They follow each other, and so do the ranks' shares; both differ by one set at most. Every rank has the same number
    of micro batches, so that ranks can communicate in each.

    together: images of a set, which always stay in one micro batch; `images` is a multiple of it.
    Raises: ValueError for a rank that does not exist, more workers than sets, or a `micro_batch` that holds no set or
    leaves a rank without one.
    """
    sets, ranks, most = images // together, workers.world_size, workers.micro_batch
    if not 0 <= workers.rank < ranks:
        raise ValueError(f"rank {workers.rank} is not one of {ranks}")
    of_step = f"a step of {images} images" if together == 1 else f"a step of {sets} class sets of {together} images"
    if sets < ranks:
        raise ValueError(f"{of_step} cannot be shared out to {ranks} workers: take {sets} at most")
    if most is not None and most < together:
        raise ValueError(f"{of_step} cannot be cut at micro_batch {most}: a class set stays together, so raise it")
    largest_share = -(-sets // ranks)
    pieces = 1 if most is None else -(-largest_share // (most // together))
    if pieces > sets // ranks:
        raise ValueError(f"{of_step} over {ranks} workers leaves one idle at micro_batch {most}: raise it")
    start, stop = _spans(0, sets, ranks)[workers.rank]
    return tuple(slice(together * first, together * end) for first, end in _spans(start, stop, pieces))


def share(micro_batches: Sequence[slice]) -> slice:
    """All images of a rank's micro batches."""
    return slice(micro_batches[0].start, micro_batches[-1].stop)


def _spans(start: int, stop: int, number: int) -> list[tuple[int, int]]:
    """Divide a range into `number` spans, the longer ones first."""
    length, longer = divmod(stop - start, number)
    edges = [start + n * length + min(n, longer) for n in range(number + 1)]
    return list(pairwise(edges))
