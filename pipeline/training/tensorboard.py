"""Curves of a training for TensorBoard: loss, learning rates, images a second. For people; no code depends on them.

Points go with the checkpoint that follows them and become one event file of their own, named after its last step. A
training resumed from a checkpoint therefore adds files after the existing ones: no step is missing or there twice.
"""

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from pipeline.contract.context import Checkpoint
from pipeline.store.store import Store

Point = tuple[int, float, str, float]
"""Step, seconds since 1970, name of the curve, value."""
EVERY = 50


class _Mark(NamedTuple):
    """A moment of an epoch. total: sum of the losses of its images so far, those of all ranks."""

    seconds: float
    total: torch.Tensor
    images: int


class Curves:
    """The points since the last checkpoint. Losses and images are those of all ranks together."""

    def __init__(self) -> None:
        self._points: list[tuple[int, float, str, Any]] = []

    def begin(self, total: torch.Tensor, images: int) -> None:
        """An epoch starts or goes on; `total`: a scalar, sum of the losses of its `images` so far."""
        self._last = self._begun = _Mark(time.monotonic(), total.clone(), images)

    def step(self, step: int, total: torch.Tensor, images: int, optimizer: torch.optim.Optimizer) -> None:
        """Step number `step` of the training was taken; every fiftieth adds a point. Does not wait for a GPU.

        total, images: as in `begin`.
        """
        if step % EVERY == 0:
            last, self._last = self._last, _Mark(time.monotonic(), total.clone(), images)
            loss = (total - last.total) / (images - last.images)
            self._add(step, "", {"loss": loss, **self._pace(last, images), **_rates(optimizer)})

    def epoch(self, step: int, total: torch.Tensor, images: int, optimizer: torch.optim.Optimizer) -> None:
        """An epoch has ended with that step."""
        loss = total / max(images, 1)
        self._add(step, "epoch/", {"loss": loss, **self._pace(self._begun, images), **_rates(optimizer)})

    def taken(self) -> list[Point]:
        """Return the points and clear them."""
        points = [(step, moment, name, float(value)) for step, moment, name, value in self._points]
        self._points.clear()
        return points

    def _pace(self, since: _Mark, images: int) -> dict[str, float]:
        """Images a second; nothing where none was seen, as when the last step alone was resumed."""
        seen, seconds = images - since.images, time.monotonic() - since.seconds
        return {"images_per_second": seen / max(seconds, 1e-9)} if seen else {}

    def _add(self, step: int, kind: str, values: Mapping[str, Any]) -> None:
        self._points += [(step, time.time(), f"{kind}{name}", value) for name, value in values.items()]


def _rates(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    return {f"learning_rate/{number}": float(group["lr"]) for number, group in enumerate(optimizer.param_groups)}


def publish(store: Store, folder: str, state: Checkpoint, scratch: str) -> None:
    """Write the points of a checkpoint as an event file into `folder` of the run root; a repetition changes nothing.

    Its name holds the last step and the number of finished epochs, for an epoch's last step may be saved twice.
    scratch: a folder of this machine. Without the package `tensorboard` nothing is written.
    """
    points = state["points"]
    if points and (data := event_file(points, scratch)):
        last = max(step for step, *_ in points)
        store.files.put(f"{folder}/events.out.tfevents.{last:012d}.{len(state['log']):06d}", data)


def event_file(points: Sequence[Point], scratch: str) -> bytes | None:
    """Points as TensorBoard's event file; None where the package is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        with SummaryWriter(folder) as writer:
            for step, moment, name, value in points:
                writer.add_scalar(name, value, step, walltime=moment)
        (path,) = Path(folder).iterdir()
        return path.read_bytes()
