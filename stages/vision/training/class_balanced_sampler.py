"""Class-balanced batches for training, as indices: N classes with S images each, the images of a class side by side.

I2C draws pairs, MinMaxCAM sets of five. An epoch is a pure function of (seed, epoch): a resumed training sees the
batches that an uninterrupted one would have seen, and every rank computes the same epoch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

__all__ = ["ClassBalancedSampler"]


@dataclass(frozen=True)
class ClassBalancedSampler:
    """The batches of any epoch, as indices into `labels`: the images of a step, whatever the number of workers.

    labels: class of each image, ``(n,)`` of any sortable type, the same on every rank. classes: N, different classes in
    a batch; fewer where the data have fewer. images: S.
    Raises: ValueError for sizes below 1, or without any label.
    """

    labels: Sequence[int] | Sequence[str] | np.ndarray
    classes: int
    images: int
    seed: int

    def __post_init__(self) -> None:
        if self.classes < 1 or self.images < 1:
            raise ValueError(f"a batch needs at least one class of one image, got {self.classes} of {self.images}")
        if not self._members:
            raise ValueError("class-balanced batches need at least one image")

    @property
    def classes_a_batch(self) -> int:
        """Classes in a batch: N, or as many as the data have."""
        return min(self.classes, len(self._members))

    @property
    def batches_an_epoch(self) -> int:
        """Batches in one epoch: as many as use each image once on average, and at least one."""
        return max(1, len(self.labels) // (self.classes_a_batch * self.images))

    def __call__(self, epoch: int) -> np.ndarray:
        """The epoch's batches, ``(batches, N S)`` int64; positions ``i S`` to ``i S + S - 1`` are one class.

        No class is in a batch twice. Within an epoch, classes are used equally often, to one use, and so are the images
        of a class. The images of a set differ where the class has S of them; else each is repeated as rarely as
        possible.
        """
        generator = np.random.default_rng([self.seed, epoch])
        number = self.classes_a_batch
        drawn = _rows(len(self._members), number, self.batches_an_epoch, generator)
        sets = np.empty((drawn.size, self.images), dtype=np.int64)
        places = _positions(drawn.ravel(), len(self._members))
        for images, where in zip(self._members, places, strict=True):
            sets[where] = images[_rows(len(images), self.images, len(where), generator)]
        return sets.reshape(self.batches_an_epoch, number * self.images)

    @cached_property
    def _members(self) -> list[np.ndarray]:
        """The images of each class."""
        names, members = np.unique(np.asarray(self.labels), return_inverse=True)
        return _positions(members, len(names))


def _positions(values: np.ndarray, size: int) -> list[np.ndarray]:
    """The indices at which each of ``range(size)`` stands in `values`, ``(n,)``."""
    counts = np.bincount(values, minlength=size)
    return np.split(np.argsort(values, kind="stable"), np.cumsum(counts))[:size]


def _rows(size: int, length: int, number: int, generator: np.random.Generator) -> np.ndarray:
    """Draw ``(number, length)`` of ``range(size)``: distinct values in a row if possible, all equally often up to one.

    Values come from one random permutation after another. Where a row spans two permutations, values that it already
    holds are moved behind its end. A row longer than `size` is whole copies of the range plus a shorter row.
    """
    whole, rest = divmod(length, size)
    orders = [np.empty(0, dtype=np.int64)]
    for drawn in range(0, number * rest, size):
        order = generator.permutation(size)
        started = drawn % rest
        if started:
            held = np.isin(order, orders[-1][-started:])
            first = np.flatnonzero(~held)[: rest - started]
            order = np.concatenate([order[first], np.delete(order, first)])
        orders.append(order)
    shorter = np.concatenate(orders)[: number * rest].reshape(number, rest)
    every = np.broadcast_to(np.tile(np.arange(size), whole), (number, whole * size))
    return generator.permuted(np.concatenate([every, shorter], axis=1), axis=1)
