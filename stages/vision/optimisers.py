"""Optimizers and learning-rate schedules by name."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, OneCycleLR

SCHEDULES = ("one_cycle", "cosine", "constant")


def sgd(groups: Sequence[dict[str, Any]], learning_rate: float, weight_decay: float) -> torch.optim.SGD:
    """SGD with Nesterov momentum 0.9 over parameter groups; a group's `lr` is taken where it has one."""
    return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, weight_decay=weight_decay, nesterov=True)


def schedule(name: str, optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
    """A schedule that steps once a batch, `steps` times in all. Raises ValueError for an unknown name.

    one_cycle: linear-cosine up to the group's rate in the first 30 %, then down to almost 0. cosine: from the rate
    to 0. constant: as it is.
    """
    if name == "one_cycle":
        peaks = [group["lr"] for group in optimizer.param_groups]
        return OneCycleLR(optimizer, max_lr=peaks, total_steps=steps + 1, cycle_momentum=False)
    if name == "cosine":
        return CosineAnnealingLR(optimizer, T_max=steps)
    if name == "constant":
        return ConstantLR(optimizer, factor=1.0)
    raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {name!r}")
