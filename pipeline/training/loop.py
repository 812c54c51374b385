"""The epoch loop that every training shares: seeded, checkpointed, resumed at the step after its last checkpoint.

A resumed training reaches the same weights as an uninterrupted one (one worker, CPU): all randomness of a step comes
from (seed, epoch, step, rank), and the checkpoint holds network, optimizer, schedule and what the epoch has summed up.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.base.errors import StageFailed, UsageError
from pipeline.base.hashing import seed_from
from pipeline.contract.context import Checkpoint, StepState, TrainContext
from pipeline.training.checkpoint_timer import CheckpointTimer
from pipeline.training.tensorboard import Curves, Point

Batch = tuple[torch.Tensor, ...]
Loss = Callable[[nn.Module, Batch], torch.Tensor]


class DivergedError(StageFailed, FloatingPointError):
    """The training loss is no longer finite; trying again would end the same way."""


@dataclass(frozen=True)
class Epoch:
    """One line of the training log."""

    epoch: int
    loss: float
    images: int
    learning_rate: float


@dataclass(frozen=True)
class Step:
    """One optimizer step on a batch.

    loss: (network, batch on the device) -> scalar loss. optimizer, schedule: the schedule steps once a batch.
    """

    loss: Loss
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler


@dataclass
class Training:
    """What one training is made of.

    network: trained in place, on its device already; its buffers are in the checkpoint too.
    loss: (network, batch on the device) -> scalar loss.
    batches: (epoch, n) -> this rank's batches of the epoch without the first n, which need not be made; every rank gets
    the same number of them.
    optimizer, schedule: the schedule steps once a batch.
    precision: float32, or bfloat16 for autocast.
    further: more steps on each batch, after that of `loss`. With several workers, their losses get the network without
    its wrapper, and their gradients are averaged.
    begin: called with the number of each epoch, from 0, before its batches are made.
    clip_norm: the largest norm of an optimizer's gradients together, in all kinds of steps; None: any.
    generators: what the losses draw from besides torch's own random numbers; reseeded like these for each step.
    """

    network: nn.Module
    loss: Loss
    batches: Callable[[int, int], Iterable[Batch]]
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    epochs: int
    seed: int
    precision: str = "float32"
    further: Sequence[Step] = ()
    begin: Callable[[int], None] | None = None
    clip_norm: float | None = None
    generators: Sequence[torch.Generator] = ()


@dataclass
class _Progress:
    """How far a training is. total, further: sums of the running epoch's losses (float64, on the device)."""

    total: torch.Tensor
    further: torch.Tensor
    log: list[Epoch] = field(default_factory=list)
    steps: int = 0
    images: int = 0

    @property
    def mean(self) -> float:
        """The mean loss of the running epoch so far. Raises DivergedError."""
        mean = float(self.total) / max(self.images, 1)
        if not torch.isfinite(self.total + self.further):
            raise DivergedError(f"the training loss is {mean} in epoch {len(self.log) + 1}; lower the learning rate")
        return mean

    def end_epoch(self, learning_rate: float) -> None:
        """Put the running epoch into the log."""
        self.log.append(Epoch(len(self.log) + 1, self.mean, self.images, learning_rate))
        self.total, self.further = torch.zeros_like(self.total), torch.zeros_like(self.further)
        self.steps = self.images = 0


def train(training: Training, context: TrainContext) -> list[Epoch]:
    """Run all steps that no checkpoint holds yet; returns the whole log, earlier epochs included.

    Raises:
        DivergedError: the loss is no longer finite; the line names the epoch.
        UsageError: the checkpoint is of another number of workers.
    """
    return _Loop(training, context).run()


class _Loop:
    def __init__(self, training: Training, context: TrainContext) -> None:
        self._training, self._context = training, context
        self._progress = _restore(training, context)
        several = context.world_size > 1
        self._network = DistributedDataParallel(training.network) if several else training.network
        self._first = Step(training.loss, training.optimizer, training.schedule)
        self._timer = CheckpointTimer(context)
        self._curves = Curves(context.world_size)

    def run(self) -> list[Epoch]:
        log = self._progress.log
        while len(log) < self._training.epochs:
            self._epoch(len(log))
            self._save({"loss": log[-1].loss})
        return log

    def _epoch(self, epoch: int) -> None:
        training, progress = self._training, self._progress
        self._network.train()
        self._seed("epoch", epoch)
        if training.begin is not None:
            training.begin(epoch)
        self._curves.begin(progress.total, progress.images)
        for batch in training.batches(epoch, progress.steps):
            self._seed("step", epoch, progress.steps)
            self._steps_on(tuple(part.to(self._context.device, non_blocking=True) for part in batch))
            self._curves.step(self._steps, progress.total, progress.images, training.optimizer)
            if self._timer.due():
                self._agree()
                self._save({"loss": progress.mean, "steps": progress.steps})
        self._agree()
        self._curves.epoch(self._steps, progress.total, progress.images, training.optimizer)
        progress.end_epoch(float(training.optimizer.param_groups[0]["lr"]))

    def _agree(self) -> None:
        """Let all ranks give up when the loss of one is not finite: its gradients have spoiled the weights of all."""
        if self._context.world_size > 1:
            bad = (~torch.isfinite(self._progress.total + self._progress.further)).double()
            distributed.all_reduce(bad)
            self._progress.further += torch.where(bad > 0, torch.nan, 0.0)

    @property
    def _steps(self) -> int:
        """Steps of the whole training so far."""
        return int(self._training.schedule.last_epoch)

    def _seed(self, *place: object) -> None:
        """Let all random numbers that follow depend on seed, place and rank alone."""
        parts = (self._training.seed, *place, self._context.rank)
        torch.default_generator.manual_seed(seed_from(*parts))  # without a GPU torch.manual_seed takes 70 times as long
        if self._context.device == "cuda":
            torch.cuda.manual_seed(seed_from(*parts))
        for number, generator in enumerate(self._training.generators):
            generator.manual_seed(seed_from(*parts, number))

    def _steps_on(self, batch: Batch) -> None:
        """Take all kinds of steps on one batch."""
        training, progress = self._training, self._progress
        progress.total += _take_step(self._first, self._network, batch, training) * len(batch[0])
        for step in training.further:
            several = self._network is not training.network
            progress.further += _take_step(step, training.network, batch, training, average=several)
        progress.images += len(batch[0])
        progress.steps += 1

    def _save(self, said: dict[str, float]) -> None:
        state = _checkpoint(self._training, self._progress, self._context.world_size, self._curves.taken())
        self._context.save(state, {"epoch": len(self._progress.log), "epochs": self._training.epochs, **said})
        self._timer.saved()


def _take_step(
    step: Step, network: nn.Module, batch: Batch, training: Training, *, average: bool = False
) -> torch.Tensor:
    """Take one optimizer step; returns its loss as float64, on the device: reading it would make a GPU wait."""
    with torch.autocast(batch[0].device.type, dtype=torch.bfloat16, enabled=training.precision == "bfloat16"):
        loss = step.loss(network, batch)
    step.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if average:
        _average_gradients(step.optimizer)
    if training.clip_norm is not None:
        nn.utils.clip_grad_norm_(_parameters(step.optimizer), training.clip_norm)
    step.optimizer.step()
    step.schedule.step()
    return loss.detach().double()


def _average_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Replace the gradients of an optimizer's parameters by their means over all workers."""
    for parameter in _parameters(optimizer):
        if parameter.grad is not None:
            distributed.all_reduce(parameter.grad)
            parameter.grad /= distributed.get_world_size()


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _checkpoint(training: Training, progress: _Progress, ranks: int, points: list[Point]) -> Checkpoint:
    return {
        "network": training.network.state_dict(),
        **_step_state(training),
        "further": [_step_state(step) for step in training.further],
        "log": [[e.epoch, e.loss, e.images, e.learning_rate] for e in progress.log],
        "running": {
            "total": float(progress.total),
            "further": float(progress.further),
            "steps": progress.steps,
            "images": progress.images,
            "ranks": ranks,
        },
        "points": points,
    }


def _step_state(step: Step | Training) -> StepState:
    return {"optimizer": step.optimizer.state_dict(), "schedule": step.schedule.state_dict()}


def _restore(training: Training, context: TrainContext) -> _Progress:
    nothing = torch.zeros((), dtype=torch.float64, device=context.device)
    progress = _Progress(nothing.clone(), nothing.clone())
    state = context.load()
    if state is None:
        return progress
    ranks = state["running"]["ranks"]
    if ranks != context.world_size:
        raise UsageError(
            f"this training was begun by {ranks} workers, not {context.world_size}, and its schedule counts their"
            " steps: set their number back, or compute the stage again with --force"
        )
    training.network.load_state_dict(state["network"])
    training.optimizer.load_state_dict(state["optimizer"])
    training.schedule.load_state_dict(state["schedule"])
    for step, kept in zip(training.further, state["further"], strict=True):
        step.optimizer.load_state_dict(kept["optimizer"])
        step.schedule.load_state_dict(kept["schedule"])
    progress.log += [Epoch(int(e), float(loss), int(images), float(lr)) for e, loss, images, lr in state["log"]]
    running = state["running"]
    progress.total += running["total"]
    progress.further += running["further"]
    progress.images, progress.steps = running["images"], running["steps"]
    return progress
