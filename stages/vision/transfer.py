"""Moves batches to a GPU and results back while it computes; a no-op on the CPU."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
import torch

__all__ = ["HostCopy", "one_behind", "spare_bytes", "to_device"]

Item = TypeVar("Item")
Launched = TypeVar("Launched")


def to_device(values: np.ndarray, device: torch.device | str) -> torch.Tensor:
    """An array of any shape on the device; towards a GPU through page-locked memory, without waiting for the copy."""
    tensor = torch.from_numpy(values)
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def spare_bytes(device: torch.device | str) -> int:
    """Bytes that may lie on a GPU between batches: half of those free, as workers may share it. 0 for a CPU."""
    if torch.device(device).type != "cuda":
        return 0
    free, _ = torch.cuda.mem_get_info(device)
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return (free + cached) // 2


class HostCopy:
    """A tensor on its way to host memory: `wait` returns it, and until then the GPU may go on with other work."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._copy = tensor.to("cpu", non_blocking=tensor.is_cuda)
        self._copied = torch.cuda.Event() if tensor.is_cuda else None
        if self._copied is not None:
            self._copied.record()

    def wait(self) -> torch.Tensor:
        """The tensor on the CPU, of the same shape, once it is there."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._copy


def one_behind(items: Iterable[Item], launch: Callable[[Item], Launched]) -> Iterator[Launched]:
    """Yield the result of `launch` for each item, after the next item was launched.

    So a GPU computes the next batch while the results of this one are awaited and turned into rows.
    """
    waiting: list[Launched] = []
    for item in items:
        waiting.append(launch(item))
        if len(waiting) == 2:
            yield waiting.pop(0)
    yield from waiting
