"""The epoch loop that every training shares: seeded, checkpointed, resumed at the step after its last checkpoint.

A step is defined by the images of all ranks together. Each rank takes its share, in micro batches if need be; their
gradients add up to those of a single rank with all images at once, up to the rounding of sums. Two things see less than
the whole step. Dropout inside a network draws by rank and micro batch. Batch normalization sees one micro batch, on
CUDA devices those of all ranks together (SyncBatchNorm, which CPUs do not have); its running statistics are rank 0's.

A resumed training reaches the same weights as an uninterrupted one (CPU, as many ranks): all randomness of a step comes
from (seed, epoch, step), that of dropout from the rank too, and the checkpoint holds network, optimizer, schedule and
the epoch's sums so far. A checkpoint does not depend on the number of ranks, so another number may continue from it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.base.errors import StageFailed
from pipeline.base.hashing import seed_from
from pipeline.contract.context import Checkpoint, StepState, TrainContext
from pipeline.training.checkpoint_timer import CheckpointTimer
from pipeline.training.draws import StepDraws
from pipeline.training.step import Batch, Loss, Share, Step, take_step
from pipeline.training.tensorboard import Curves, Point


class DivergedError(StageFailed, FloatingPointError):
    """The training loss is no longer finite; trying again would end the same way."""


@dataclass(frozen=True)
class Epoch:
    """One line of the training log."""

    epoch: int
    loss: float
    images: int
    learning_rate: float


@dataclass
class Training:
    """What one training is made of.

    network: trained in place, on its device already; its buffers are in the checkpoint too.
    loss: (network, micro batch on the device) -> scalar loss, a mean over the images, or over class sets of one size.
    batches: (epoch, n) -> this rank's shares of the epoch's steps from the n-th on; every rank gets the same number.
    optimizer, schedule: the schedule steps once a batch.
    images: number of images of one step, all ranks together.
    micro_batches: which of these images each micro batch of this rank holds: consecutive slices.
    precision: float32, or bfloat16 for autocast.
    further: more steps on each batch, after that of `loss`. With several workers, their losses get the network without
    its DistributedDataParallel wrapper, and their gradients are summed over the workers.
    begin: called with the number of each epoch, from 0, before its batches are made.
    end_step: called on all ranks after the steps of all kinds on a batch.
    clip_norm: the largest norm of all gradients of an optimizer together, in steps of all kinds; None: no limit.
    draws: random numbers for the losses, besides torch's own; seeded by the loop.
    """

    network: nn.Module
    loss: Loss
    batches: Callable[[int, int], Iterable[Batch]]
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    epochs: int
    seed: int
    images: int
    micro_batches: Sequence[slice]
    precision: str = "float32"
    further: Sequence[Step] = ()
    begin: Callable[[int], None] | None = None
    end_step: Callable[[], None] | None = None
    clip_norm: float | None = None
    draws: StepDraws | None = None


@dataclass
class _Progress:
    """How far a training is. total, further: sums of the running epoch's losses (float64, on the device).

    Sums and images are those of all ranks.
    """

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
        StageFailed: the checkpoint is damaged.
    """
    return _Loop(training, context).run()


class _Loop:
    def __init__(self, training: Training, context: TrainContext) -> None:
        self._training, self._context = training, context
        self._share = Share(training.images, tuple(training.micro_batches), context.world_size)
        if context.world_size > 1 and context.device == "cuda":
            training.network = nn.SyncBatchNorm.convert_sync_batchnorm(training.network)
        self._progress = _restore(training, context)
        network = training.network
        self._network = DistributedDataParallel(network) if context.world_size > 1 else network
        first = Step(training.loss, training.optimizer, training.schedule)
        self._kinds = [(first, self._network), *((step, network) for step in training.further)]
        self._timer = CheckpointTimer(context)
        self._curves = Curves()

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
            self._steps_on(tuple(part.to(self._context.device, non_blocking=True) for part in batch), epoch)
            self._curves.step(self._steps, progress.total, progress.images, training.optimizer)
            if self._timer.due():
                self._save({"loss": progress.mean, "steps": progress.steps})
        self._curves.epoch(self._steps, progress.total, progress.images, training.optimizer)
        progress.end_epoch(float(training.optimizer.param_groups[0]["lr"]))

    @property
    def _steps(self) -> int:
        """Steps of the whole training so far."""
        return int(self._training.schedule.last_epoch)

    def _seed(self, *place: object) -> None:
        """Seed torch by the training's seed, this place in the training and the rank."""
        seed = seed_from(self._training.seed, *place, self._context.rank)
        torch.default_generator.manual_seed(seed)  # without a GPU torch.manual_seed takes 70 times as long
        if self._context.device == "cuda":
            torch.cuda.manual_seed(seed)

    def _steps_on(self, batch: Batch, epoch: int) -> None:
        """Take all kinds of steps on this rank's share of a batch."""
        training, progress = self._training, self._progress
        losses = torch.stack([self._step(number, batch, epoch) for number in range(len(self._kinds))])
        if self._share.ranks > 1:
            distributed.all_reduce(losses)  # a loss that is not finite on one rank makes all ranks give up
        if training.end_step is not None:
            training.end_step()
        progress.total += losses[0] * training.images
        progress.further += losses[1:].sum()
        progress.images += training.images
        progress.steps += 1

    def _step(self, number: int, batch: Batch, epoch: int) -> torch.Tensor:
        """Take a step of one kind; `draws` begins from the same seed at each of its micro batches."""
        training, (step, network) = self._training, self._kinds[number]
        seed = seed_from(training.seed, "draws", epoch, self._progress.steps, number)

        def begin(part: slice) -> None:
            if training.draws is not None:
                training.draws.begin(seed, part, training.images)

        bfloat16 = training.precision == "bfloat16"
        return take_step(step, network, batch, self._share, begin, bfloat16=bfloat16, clip_norm=training.clip_norm)

    def _save(self, said: dict[str, float]) -> None:
        state = _checkpoint(self._training, self._progress, self._curves.taken())
        self._context.save(state, {"epoch": len(self._progress.log), "epochs": self._training.epochs, **said})
        self._timer.saved()


def _checkpoint(training: Training, progress: _Progress, points: list[Point]) -> Checkpoint:
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
