"""When a training is checkpointed inside an epoch: rank 0's clock decides, all ranks hear of it at the same step."""

import time

import torch
from torch import distributed

from pipeline.contract.context import TrainContext

_LOOKS = 4
_LOOK_SECONDS = 2.0


class CheckpointTimer:
    """Asked after each step whether the training is to be saved now.

    Several ranks communicate about it only at some steps: about every two seconds, and more often just before a save is
    due. A stop request, which sets `save_seconds` of rank 0 to 0, therefore takes effect within seconds.
    """

    def __init__(self, context: TrainContext) -> None:
        self._context = context
        self.saved()

    def saved(self) -> None:
        """The training was saved: a new interval begins. All ranks call it at the same step."""
        self._since = time.monotonic()
        self._steps = 0
        self._next = 1

    def due(self) -> bool:
        """Whether to save after this step."""
        self._steps += 1
        if self._steps < self._next:
            return False
        wait = self._agreed(self._wait() if self._context.rank == 0 else 0)
        self._next = self._steps + wait
        return wait == 0

    def _wait(self) -> int:
        """Steps until the clock is checked again; 0: save now."""
        passed = time.monotonic() - self._since
        left = self._context.save_seconds - passed
        if left <= 0:
            return 0
        if self._context.world_size == 1:
            return 1
        return max(1, int(min(left / _LOOKS, _LOOK_SECONDS) / max(passed, 1e-6) * self._steps))

    def _agreed(self, wait: int) -> int:
        """Rank 0's number of steps, broadcast to all ranks."""
        if self._context.world_size == 1:
            return wait
        said = torch.tensor(wait, device=self._context.device)
        distributed.broadcast(said, src=0)
        return int(said)
