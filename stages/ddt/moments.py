"""Streaming statistics of a class's descriptors: count, mean, covariance, and the covariance with their energy.

Sums are taken about a shift (the mean of the first batch), products of some thousand descriptors in float32, their sums
in float64: a plain float32 sum over a quarter of a million descriptors loses the digits that the eigenvectors need.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["Blocks", "Moments", "Statistics"]

_BLOCK = 4096


@dataclass(frozen=True)
class Statistics:
    """What principal component analysis needs of N descriptors g of dimension d, all float64.

    mean: ``(d,)``. covariance: ``(d, d)``, divided by N. energy_covariance: ``(d,)``, covariance of g with the
    energy ``|g|_1``. energy_variance: variance of the energy.
    """

    count: int
    mean: np.ndarray
    covariance: np.ndarray
    energy_covariance: np.ndarray
    energy_variance: float


class Moments:
    """Accumulates the statistics of one class, batch by batch, on the first batch's device, without waiting for it."""

    def __init__(self) -> None:
        self.count = 0
        self._shift = torch.zeros(0)
        self._energy_shift = torch.zeros(())
        self._sum = torch.zeros(0, dtype=torch.float64)
        self._product = torch.zeros(0, dtype=torch.float64)
        self._energy_product = torch.zeros(0, dtype=torch.float64)
        self._energy_sums = torch.zeros(2, dtype=torch.float64)
        self._blocks = Blocks()

    def update(self, descriptors: torch.Tensor) -> None:
        """Add descriptors ``(N, d)`` of any float type; raises ValueError when there are none or d changes."""
        if not len(descriptors):
            raise ValueError(f"descriptors {tuple(descriptors.shape)} are empty")
        if not self.count:
            self._start(descriptors)
        if descriptors.shape[1] != len(self._sum):
            raise ValueError(f"descriptors have {descriptors.shape[1]} channels, the class has {len(self._sum)}")
        for part, shifted in self._blocks.of(descriptors, self._shift):
            self._add(part, shifted)

    def statistics(self) -> Statistics:
        """Mean and covariances of everything added so far.

        Raises: ValueError when nothing was added, or a value was not finite.
        """
        if not self.count:
            raise ValueError("no descriptors: a class needs at least one readable image")
        offset = (self._sum / self.count).cpu().numpy()
        product = (self._product / self.count).cpu().numpy()
        energy_product = (self._energy_product / self.count).cpu().numpy()
        energy_offset, energy_square = (self._energy_sums / self.count).tolist()
        if not np.isfinite(energy_square):
            raise ValueError("features hold a NaN or an infinity")
        covariance = product - np.outer(offset, offset)
        return Statistics(
            count=self.count,
            mean=self._shift.double().cpu().numpy() + offset,
            covariance=(covariance + covariance.T) / 2,
            energy_covariance=energy_product - energy_offset * offset,
            energy_variance=max(energy_square - energy_offset**2, 0.0),
        )

    def _start(self, descriptors: torch.Tensor) -> None:
        """Choose the shifts from the first batch and make room for the sums."""
        dimension, device = descriptors.shape[1], descriptors.device
        first = descriptors[:_BLOCK].float()
        self._shift = first.mean(dim=0, dtype=torch.float64).float()
        self._energy_shift = first.abs().sum(dim=1).mean()
        self._sum = torch.zeros(dimension, dtype=torch.float64, device=device)
        self._product = torch.zeros(dimension, dimension, dtype=torch.float64, device=device)
        self._energy_product = torch.zeros(dimension, dtype=torch.float64, device=device)
        self._energy_sums = torch.zeros(2, dtype=torch.float64, device=device)

    def _add(self, part: torch.Tensor, shifted: torch.Tensor) -> None:
        energy = part.abs().sum(dim=1, dtype=torch.float32) - self._energy_shift
        self.count += len(shifted)
        self._sum += shifted.sum(dim=0)
        self._product += _gram(shifted)
        self._energy_product += energy @ shifted
        self._energy_sums += torch.stack([energy.sum(dtype=torch.float64), energy.double().square().sum()])


class Blocks:
    """Splits descriptors into blocks and subtracts a vector, in float32; on a CPU, blocks that fit its cache.

    All differences share one buffer: allocating some megabytes for each would cost more than the sums, and fragment the
    heap.
    """

    def __init__(self) -> None:
        self._place = torch.empty(0)

    def of(self, descriptors: torch.Tensor, offset: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Blocks ``(n, d)`` of descriptors ``(N, d)``, in order, and block - offset, which the next one overwrites.

        offset: ``(d,)`` float32.
        """
        for part in descriptors.split(len(descriptors) if descriptors.is_cuda else _BLOCK):
            if self._place.shape[1:] != part.shape[1:] or len(self._place) < len(part):
                self._place = torch.empty(part.shape, dtype=torch.float32, device=part.device)
            place = self._place[: len(part)]
            if part.dtype == torch.float32:
                yield part, torch.sub(part, offset, out=place)
            else:  # a subtraction of two dtypes is slow
                yield part, place.copy_(part).sub_(offset)


def _gram(values: torch.Tensor) -> torch.Tensor:
    """``X^T X`` in float32. NumPy's BLAS makes use of its symmetry, at half the cost."""
    if values.is_cuda:
        return values.T @ values
    array = values.numpy()
    return torch.from_numpy(array.T @ array)
