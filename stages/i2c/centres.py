"""The memory of class centres of I2C (Zhang et al., ECCV 2020, section 3.3)."""

import math

import torch
from torch import distributed, nn

from stages.i2c.consistency import class_sums, global_consistency
from stages.i2c.parameters import Distance

__all__ = ["ClassCentres"]


class ClassCentres(nn.Module):
    """A centre w for every class, drawn towards the mean a of its seed vectors in each step that shows the class.

    ``w <- (1 - eta) w + eta a`` with ``eta = exp(-alpha t)`` after t updates of that class (eq. 3 and 4): the first
    update replaces the random centre, later ones move it less and less. Centres and counters are buffers: they are in
    the checkpoint and never in an optimizer.

    num_classes: Y. dimension: D. decay: alpha, finite and at least 0. distance: of the loss.
    skip_unseen: leave a class out of the loss until its centre's first update; False: its distance to the random centre
    counts (the released code). generator: of the initial centres (standard normal), on the CPU.
    """

    centres: torch.Tensor
    counts: torch.Tensor

    def __init__(
        self,
        num_classes: int,
        dimension: int,
        decay: float = 0.002,
        distance: Distance = "euclidean",
        skip_unseen: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not (math.isfinite(decay) and decay >= 0):
            raise ValueError(f"decay must be finite and at least 0, got {decay}")
        self.decay = decay
        self.distance: Distance = distance
        self.skip_unseen = skip_unseen
        self.register_buffer("centres", torch.randn(num_classes, dimension, generator=generator))
        self.register_buffer("counts", torch.zeros(num_classes, dtype=torch.int64))
        self._seen: tuple[torch.Tensor, torch.Tensor] | None = None

    def forward(self, vectors: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """L_gc of a micro batch against the present centres; in training mode its sums are kept for `update`.

        vectors: ``(B, K, D)`` seed vectors; labels: ``(B,)``. Returns: a scalar; no gradient reaches the centres.
        """
        sums, counts = class_sums(vectors, labels, len(self.centres))
        compared = self.counts > 0 if self.skip_unseen else torch.ones_like(self.counts, dtype=torch.bool)
        loss = global_consistency(sums, counts, self.centres, compared, self.distance)
        if self.training:
            before = self._seen or (torch.zeros_like(sums), torch.zeros_like(counts))
            self._seen = before[0] + sums.detach(), before[1] + counts
        return loss

    def update(self) -> None:
        """Update the centres at the end of a step, by the seed vectors of all its micro batches on all ranks.

        All ranks must call it, after the same number of micro batches (or none), and end with equal centres.
        """
        if self._seen is None:
            return
        sums, counts = _over_ranks(*self._seen)
        self._seen = None
        present = counts > 0
        means = sums / counts.clamp(min=1).unsqueeze(1)
        rate = torch.exp(-self.decay * self.counts).to(means.dtype).unsqueeze(1)
        moved = (1 - rate) * self.centres + rate * means
        self.centres.copy_(torch.where(present.unsqueeze(1), moved, self.centres))
        self.counts.add_(present)


def _over_ranks(sums: torch.Tensor, counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums and counts added up over all ranks."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return sums, counts
    packed = torch.cat([sums, counts.unsqueeze(1)], dim=1)
    distributed.all_reduce(packed)
    return packed[:, :-1], packed[:, -1]
