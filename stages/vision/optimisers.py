"""Optimizers and learning-rate schedules by name."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, OneCycleLR

SCHEDULES = ("one_cycle", "cosine", "constant")


def groups(named: Iterable[tuple[str, nn.Parameter]], rate: float, decay: float) -> list[dict[str, Any]]:
    """Parameter groups of one learning rate: weights of layers decay, biases and normalisation parameters do not."""
    parameters = [parameter for _, parameter in named]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "lr": rate, "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "lr": rate, "weight_decay": 0.0},
    ]


def sgd(groups: Sequence[dict[str, Any]]) -> torch.optim.SGD:
    """SGD with Nesterov momentum 0.9 over parameter groups that bring their `lr` and `weight_decay`."""
    return torch.optim.SGD(groups, lr=groups[0]["lr"], momentum=0.9, nesterov=True)


def schedule(name: str, optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
    """A schedule that steps once a batch, `steps` times in all. Raises ValueError for an unknown name.

    one_cycle: from a tenth of the group's rate up to it in the first fifth, then down to almost 0, by cosines.
    cosine: from the rate to 0. constant: as it is.
    """
    if name == "one_cycle":
        peaks = [group["lr"] for group in optimizer.param_groups]
        return OneCycleLR(
            optimizer,
            max_lr=peaks,
            total_steps=steps + 1,
            pct_start=max(0.2, 2 / (steps + 1)),  # the way up takes a step at least, or torch divides by zero
            div_factor=10,
            final_div_factor=100,
            cycle_momentum=False,
        )
    if name == "cosine":
        return CosineAnnealingLR(optimizer, T_max=steps)
    if name == "constant":
        return ConstantLR(optimizer, factor=1.0)
    raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {name!r}")
