"""The epoch loop that every training shares: seeded, checkpointed each epoch, resumed at the epoch that was cut off.

A resumed training reaches the same weights as an uninterrupted one (one worker, CPU): all randomness of an epoch comes
from (seed, epoch), and the checkpoint holds network, optimizer and schedule.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.errors import StageFailed
from pipeline.hashing import seed_from
from pipeline.stage import TrainContext

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
    batches: epoch -> this rank's batches; every rank gets the same number of them.
    optimizer, schedule: the schedule steps once a batch.
    precision: float32, or bfloat16 for autocast.
    further: more steps on each batch, after that of `loss`. With several workers, their losses get the network without
    its wrapper, and their gradients are averaged.
    begin: told the number of each epoch, from 0, before its batches are made.
    """

    network: nn.Module
    loss: Loss
    batches: Callable[[int], Iterable[Batch]]
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    epochs: int
    seed: int
    precision: str = "float32"
    further: Sequence[Step] = ()
    begin: Callable[[int], None] | None = None


def train(training: Training, context: TrainContext) -> list[Epoch]:
    """Run all epochs that no checkpoint holds yet; returns the whole log, earlier epochs included.

    Raises:
        DivergedError: the loss is no longer finite; the line names the epoch.
    """
    log = _restore(training, context)
    network = training.network
    if context.world_size > 1:
        network = DistributedDataParallel(network)
    for epoch in range(len(log), training.epochs):
        torch.manual_seed(seed_from(training.seed, "epoch", epoch, context.rank))
        log.append(_one_epoch(training, network, epoch, context.device))
        progress = {"epoch": epoch + 1, "epochs": training.epochs, "loss": log[-1].loss}
        context.save(_state(training, log), progress)
    return log


def _one_epoch(training: Training, network: nn.Module, epoch: int, device: str) -> Epoch:
    network.train()
    if training.begin is not None:
        training.begin(epoch)
    first = Step(training.loss, training.optimizer, training.schedule)
    total, further = (torch.zeros((), dtype=torch.float64, device=device) for _ in range(2))
    images = 0
    for batch in training.batches(epoch):
        on_device = tuple(part.to(device, non_blocking=True) for part in batch)
        total += _take(first, network, on_device, training.precision) * len(batch[0])
        for step in training.further:
            several = network is not training.network
            further += _take(step, training.network, on_device, training.precision, average=several)
        images += len(batch[0])
    mean = float(total) / max(images, 1)
    if not torch.isfinite(total + further):
        raise DivergedError(f"the training loss is {mean} in epoch {epoch + 1}; lower the learning rate")
    return Epoch(epoch + 1, mean, images, float(training.optimizer.param_groups[0]["lr"]))


def _take(step: Step, network: nn.Module, batch: Batch, precision: str, *, average: bool = False) -> torch.Tensor:
    """Take one optimizer step; returns its loss as float64, on the device: reading it would make a GPU wait."""
    with torch.autocast(batch[0].device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        loss = step.loss(network, batch)
    step.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if average:
        _average_gradients(step.optimizer)
    step.optimizer.step()
    step.schedule.step()
    return loss.detach().double()


def _average_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Replace the gradients of an optimizer's parameters by their means over all workers."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                distributed.all_reduce(parameter.grad)
                parameter.grad /= distributed.get_world_size()


def _state(training: Training, log: list[Epoch]) -> dict[str, Any]:
    return {
        "network": training.network.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "schedule": training.schedule.state_dict(),
        "further": [
            {"optimizer": step.optimizer.state_dict(), "schedule": step.schedule.state_dict()}
            for step in training.further
        ],
        "log": [[e.epoch, e.loss, e.images, e.learning_rate] for e in log],
    }


def _restore(training: Training, context: TrainContext) -> list[Epoch]:
    state = context.load()
    if state is None:
        return []
    training.network.load_state_dict(state["network"])
    training.optimizer.load_state_dict(state["optimizer"])
    training.schedule.load_state_dict(state["schedule"])
    for step, kept in zip(training.further, state.get("further", ()), strict=True):
        step.optimizer.load_state_dict(kept["optimizer"])
        step.schedule.load_state_dict(kept["schedule"])
    return [Epoch(int(e), float(loss), int(images), float(lr)) for e, loss, images, lr in state["log"]]
