"""The epoch loop that every training shares: seeded, checkpointed each epoch, resumed at the epoch that was cut off.

A resumed training reaches the same weights as an uninterrupted one (one worker, CPU): all randomness of an epoch comes
from (seed, epoch), and the checkpoint holds network, optimizer and schedule.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.errors import StageFailed
from pipeline.hashing import seed_from
from pipeline.stage import TrainContext

Batch = tuple[torch.Tensor, ...]


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

    network: trained in place, on its device already.
    loss: (network, batch on the device) -> scalar loss.
    batches: epoch -> this rank's batches; every rank gets the same number of them.
    optimizer, schedule: the schedule steps once a batch.
    precision: float32, or bfloat16 for autocast.
    """

    network: nn.Module
    loss: Callable[[nn.Module, Batch], torch.Tensor]
    batches: Callable[[int], Iterable[Batch]]
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    epochs: int
    seed: int
    precision: str = "float32"


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
    total, images = torch.zeros((), dtype=torch.float64), 0
    autocast = training.precision == "bfloat16"
    for batch in training.batches(epoch):
        on_device = tuple(part.to(device, non_blocking=True) for part in batch)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=autocast):
            loss = training.loss(network, on_device)
        training.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        training.optimizer.step()
        training.schedule.step()
        total += loss.detach().double().cpu() * len(batch[0])
        images += len(batch[0])
    mean = float(total) / max(images, 1)
    if not torch.isfinite(total):
        raise DivergedError(f"the training loss is {mean} in epoch {epoch + 1}; lower the learning rate")
    return Epoch(epoch + 1, mean, images, float(training.optimizer.param_groups[0]["lr"]))


def _state(training: Training, log: list[Epoch]) -> dict[str, Any]:
    return {
        "network": training.network.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "schedule": training.schedule.state_dict(),
        "log": [[e.epoch, e.loss, e.images, e.learning_rate] for e in log],
    }


def _restore(training: Training, context: TrainContext) -> list[Epoch]:
    state = context.load()
    if state is None:
        return []
    training.network.load_state_dict(state["network"])
    training.optimizer.load_state_dict(state["optimizer"])
    training.schedule.load_state_dict(state["schedule"])
    return [Epoch(int(e), float(loss), int(images), float(lr)) for e, loss, images, lr in state["log"]]
