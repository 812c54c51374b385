"""Streaming statistics of a class's descriptors: count, mean, covariance, and the covariance with their energy.

Sums are taken about a shift (the mean of the first batch), products of one batch in float32, sums over batches in
float64: a plain float32 sum over a quarter of a million descriptors loses the digits that the eigenvectors need.
"""

from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["Moments", "Statistics"]


@dataclass(frozen=True)
class Statistics:
    """What principal component analysis needs to know of N descriptors g of dimension d, all float64.

    mean: ``(d,)``. covariance: ``(d, d)``, divided by N. energy_covariance: ``(d,)``, covariance of g with the
    energy ``|g|_1``. energy_variance: variance of the energy.
    """

    count: int
    mean: np.ndarray
    covariance: np.ndarray
    energy_covariance: np.ndarray
    energy_variance: float


class Moments:
    """Accumulates the statistics of one class, batch by batch."""

    def __init__(self) -> None:
        self.count = 0
        self._shift: torch.Tensor | None = None
        self._energy_shift = 0.0
        self._sum = torch.zeros(0, dtype=torch.float64)
        self._product = torch.zeros(0, dtype=torch.float64)
        self._energy_product = torch.zeros(0, dtype=torch.float64)
        self._energy_sums = torch.zeros(2, dtype=torch.float64)

    def update(self, features: torch.Tensor) -> None:
        """Add the descriptors of a batch ``(B, d, h, w)``, of any float type, on any device (the first one's).

        Raises: ValueError when the dimension changes, the batch is empty, or a value is not finite.
        """
        descriptors = features.movedim(1, -1).flatten(0, -2).float()
        if not len(descriptors):
            raise ValueError(f"features {tuple(features.shape)} hold no descriptor")
        energy = descriptors.abs().sum(dim=1)
        if not bool(torch.isfinite(energy).all()):
            raise ValueError("features hold a NaN or an infinity")
        shift = self._start(descriptors, energy) if self._shift is None else self._shift
        if descriptors.shape[1] != len(self._sum):
            raise ValueError(f"descriptors have {descriptors.shape[1]} channels, the class has {len(self._sum)}")
        shifted = descriptors - shift
        energy = energy - self._energy_shift
        self.count += len(shifted)
        self._sum += shifted.sum(dim=0, dtype=torch.float64)
        self._product += (shifted.T @ shifted).double()
        self._energy_product += (energy @ shifted).double()
        self._energy_sums += torch.stack([energy.sum(dtype=torch.float64), energy.double().square().sum()])

    def statistics(self) -> Statistics:
        """Mean and covariances of everything added so far; raises ValueError when that is nothing."""
        if self._shift is None:
            raise ValueError("no descriptors: a class needs at least one readable image")
        offset = (self._sum / self.count).cpu().numpy()
        product = (self._product / self.count).cpu().numpy()
        energy_product = (self._energy_product / self.count).cpu().numpy()
        energy_offset, energy_square = (self._energy_sums / self.count).tolist()
        covariance = product - np.outer(offset, offset)
        return Statistics(
            count=self.count,
            mean=self._shift.double().cpu().numpy() + offset,
            covariance=(covariance + covariance.T) / 2,
            energy_covariance=energy_product - energy_offset * offset,
            energy_variance=max(energy_square - energy_offset**2, 0.0),
        )

    def _start(self, descriptors: torch.Tensor, energy: torch.Tensor) -> torch.Tensor:
        """Choose the shifts from the first batch and make room for the sums; returns the descriptors' shift."""
        dimension, device = descriptors.shape[1], descriptors.device
        shift = self._shift = descriptors.mean(dim=0, dtype=torch.float64).float()
        self._energy_shift = float(energy.mean(dtype=torch.float64))
        self._sum = torch.zeros(dimension, dtype=torch.float64, device=device)
        self._product = torch.zeros(dimension, dimension, dtype=torch.float64, device=device)
        self._energy_product = torch.zeros(dimension, dtype=torch.float64, device=device)
        self._energy_sums = torch.zeros(2, dtype=torch.float64, device=device)
        return shift
