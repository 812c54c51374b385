"""One optimizer step: the gradients of all micro batches of all ranks add up to those of all images at once."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

Batch = tuple[torch.Tensor, ...]
Loss = Callable[[nn.Module, Batch], torch.Tensor]


@dataclass(frozen=True)
class Step:
    """What an optimizer step takes.

    loss: (network, micro batch on the device) -> scalar loss, a mean over the images, or over class sets of one size.
    optimizer, schedule: the schedule steps once a batch.
    """

    loss: Loss
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler


@dataclass(frozen=True)
class Share:
    """What a rank computes of each step.

    images: number of images of the whole step. micro_batches: which of them each micro batch of this rank holds:
    consecutive slices. ranks: how many workers there are.
    """

    images: int
    micro_batches: tuple[slice, ...]
    ranks: int

    def divide(self, batch: Batch) -> Iterable[tuple[slice, Batch]]:
        """The micro batches of this rank's images, each with its place in the step."""
        first = self.micro_batches[0].start
        for part in self.micro_batches:
            yield part, tuple(values[part.start - first : part.stop - first] for values in batch)


def take_step(
    step: Step,
    network: nn.Module,
    batch: Batch,
    share: Share,
    begin: Callable[[slice], None],
    *,
    bfloat16: bool = False,
    clip_norm: float | None = None,
) -> torch.Tensor:
    """Take one optimizer step on this rank's images; all ranks call it alike.

    network: passed to the loss; if it is not wrapped in DistributedDataParallel, its gradients are summed over ranks
    here. batch: tensors ``(n, ...)`` of this rank's n images. begin: called with the slice of the step's images that a
    micro batch holds, before it is computed. clip_norm: see `Training`.
    Returns: what this rank adds to the step's mean loss, a float64 scalar left on the device, so that no GPU waits.
    """
    device = batch[0].device.type
    wrapped = network if isinstance(network, DistributedDataParallel) else None
    total = torch.zeros((), dtype=torch.float64, device=batch[0].device)
    step.optimizer.zero_grad(set_to_none=True)
    for part, images in share.divide(batch):
        begin(part)
        with _exchange(wrapped, last=part == share.micro_batches[-1]):
            with torch.autocast(device, dtype=torch.bfloat16, enabled=bfloat16):
                loss = step.loss(network, images) * (len(images[0]) / share.images)
            (loss * share.ranks if wrapped else loss).backward()  # the wrapper gives the mean of the ranks' gradients
        total += loss.detach()
    if wrapped is None and share.ranks > 1:
        _add_gradients(step.optimizer)
    if clip_norm is not None:
        nn.utils.clip_grad_norm_(_parameters(step.optimizer), clip_norm)
    step.optimizer.step()
    step.schedule.step()
    return total


def _exchange(network: DistributedDataParallel | None, *, last: bool) -> AbstractContextManager[None]:
    """Inside, ranks exchange gradients only if the micro batch is the last one."""
    return nullcontext() if network is None or last else network.no_sync()


def _add_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Replace the gradients of an optimizer's parameters by their sums over all workers."""
    for parameter in _parameters(optimizer):
        if parameter.grad is not None:
            distributed.all_reduce(parameter.grad)


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
