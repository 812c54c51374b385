"""Optimizers and learning-rate schedules by name."""

from collections.abc import Iterable, Sequence
from typing import TypedDict

import torch
from torch import nn
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, MultiStepLR, OneCycleLR

from stages.vision.training.parameters import SCHEDULES, Rates

__all__ = ["ParameterGroup", "groups", "groups_of_four", "schedule", "sgd"]


class ParameterGroup(TypedDict):
    """A group of parameters as torch's optimizers take it."""

    params: Sequence[torch.Tensor]
    lr: float
    weight_decay: float


def groups(named: Iterable[tuple[str, nn.Parameter]], rate: float, decay: float) -> list[ParameterGroup]:
    """Parameter groups of one learning rate: weights of layers decay, biases and normalisation parameters do not."""
    parameters = [parameter for _, parameter in named]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "lr": rate, "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "lr": rate, "weight_decay": 0.0},
    ]


def groups_of_four(
    body: Iterable[tuple[str, nn.Parameter]],
    head: Iterable[tuple[str, nn.Parameter]],
    rates: Rates,
) -> list[ParameterGroup]:
    """Parameter groups of weights and biases, below the head and in it, see `Rates`."""
    return [
        *_by_kind(body, rates.weights, rates),
        *_by_kind(head, rates.weights * rates.head, rates),
    ]


def _by_kind(named: Iterable[tuple[str, nn.Parameter]], rate: float, rates: Rates) -> list[ParameterGroup]:
    """Groups of weights, which decay, and of normalization gains and biases, which decay only with `decay_biases`."""
    kinds: dict[str, list[nn.Parameter]] = {"weights": [], "gains": [], "biases": []}
    for name, parameter in named:
        is_bias = name.rpartition(".")[2] == "bias"
        kinds["biases" if is_bias else "weights" if parameter.ndim > 1 else "gains"].append(parameter)
    rest = rates.decay if rates.decay_biases else 0.0
    return [
        {"params": kinds["weights"], "lr": rate, "weight_decay": rates.decay},
        {"params": kinds["gains"], "lr": rate, "weight_decay": rest},
        {"params": kinds["biases"], "lr": rate * rates.biases, "weight_decay": rest},
    ]


def sgd(groups: Sequence[ParameterGroup]) -> torch.optim.SGD:
    """SGD with Nesterov momentum 0.9 over parameter groups that bring their `lr` and `weight_decay`."""
    return torch.optim.SGD([dict(group) for group in groups], lr=groups[0]["lr"], momentum=0.9, nesterov=True)


def schedule(name: str, optimizer: torch.optim.Optimizer, steps: int, drops: Sequence[float] = ()) -> LRScheduler:
    """A schedule that steps once a batch, `steps` times in all.

    one_cycle: from a tenth of the group's rate up to it in the first fifth, then down to almost 0, by cosines.
    cosine: from the rate to 0. constant: no change. steps: times 0.1 at each milestone in `drops`, fractions of the
    training.

    Raises: ValueError for an unknown name, or a drop that is not between 0 and 1.
    """
    if not all(0 < drop < 1 for drop in drops):
        raise ValueError(f"drops must lie between 0 and 1, got {tuple(drops)}")
    if name == "steps":
        return MultiStepLR(optimizer, [max(1, round(drop * steps)) for drop in drops], gamma=0.1)
    if name == "one_cycle":
        peaks = [group["lr"] for group in optimizer.param_groups]
        return OneCycleLR(
            optimizer,
            max_lr=peaks,
            total_steps=steps + 1,
            pct_start=max(0.2, 2 / (steps + 1)),  # warm-up takes at least one step, or torch divides by zero
            div_factor=10,
            final_div_factor=100,
            cycle_momentum=False,
        )
    if name == "cosine":
        return CosineAnnealingLR(optimizer, T_max=steps)
    if name == "constant":
        return ConstantLR(optimizer, factor=1.0)
    raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {name!r}")
