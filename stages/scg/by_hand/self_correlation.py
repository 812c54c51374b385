"""Sums of self-correlation columns on a CPU: :mod:`stages.scg.self_correlation` for the second order, faster.

A second order takes two products. Both can be written as a matrix times its transpose, of which NumPy computes half
(BLAS syrk): with P = S D^-1, where D holds the column sums, P P = (S D^-1/2) (S D^-1/2)^T D^-1. Both results are
symmetric, so column j is read as row j, and all steps between the products are passes over single rows.
"""

from collections.abc import Sequence

import numba
import numpy as np
import torch

from stages.scg.aggregation import Seeds
from stages.scg.parameters import ScgParameters
from stages.scg.self_correlation import FLAT, SHARE_EPSILON, SUM_EPSILON, unit_vectors

__all__ = ["fused_columns", "seed_sums"]

_FLAT = np.float32(FLAT)
_ZERO, _ONE = np.float32(0), np.float32(1)
_SUM_EPSILON, _SHARE_EPSILON = np.float32(SUM_EPSILON), np.float32(SHARE_EPSILON)
_ANY_ORDER = {"reassoc", "contract", "nsz"}


def seed_sums(features: Sequence[torch.Tensor], chosen: Seeds, parameters: ScgParameters) -> torch.Tensor:
    """Equal to `column_sums` of `fused`, for an order of 2: ``(B, 2, K, n)`` float64, one image after the other.

    features: one ``(B, d, h, w)`` a stage, in host memory. chosen: ``(B, 2, K, n)``.
    """
    stages = [unit_vectors(stage.float()).numpy() for stage in features]
    sums = np.zeros(tuple(chosen.shape))
    for image, own in enumerate(chosen.flatten(1, 2).numpy()):
        columns = fused_columns([stage[image] for stage in stages], parameters)
        _add_columns(columns, own, sums[image].reshape(own.shape))
    return torch.from_numpy(sums)


def fused_columns(stages: Sequence[np.ndarray], parameters: ScgParameters) -> np.ndarray:
    """Sum over stages of an image's combined correlations, ``(n, n)`` float32; row j is column j of `fused`.

    stages: unit vectors, one ``(d, n)`` float32 each.
    """
    columns = np.zeros((stages[0].shape[1],) * 2, dtype=np.float32)
    theta1, omega = np.float32(parameters.theta1), np.float32(parameters.omega)
    for units in stages:
        alike = units.T @ units
        steps = np.empty_like(alike)
        if parameters.normalisation == "vgg":
            totals = _steps_by_sums(alike, steps, theta1)
            _add_by_sums(alike, steps @ steps.T, totals, np.float32(parameters.theta2 / len(alike)), omega, columns)
        else:
            _steps_by_ranges(alike, steps, theta1)
            _add_by_ranges(alike, steps @ steps.T, np.float32(parameters.theta2), omega, columns)
    return columns


@numba.njit(cache=True, nogil=True, fastmath=_ANY_ORDER)
def _steps_by_sums(alike: np.ndarray, steps: np.ndarray, theta1: np.float32) -> np.ndarray:
    """Set similarities below theta1 to 0, fill ``steps`` with S D^-1/2 without the diagonal; returns D ``(n,)``."""
    _steps_by_ranges(alike, steps, theta1)
    totals = np.empty(len(alike), np.float32)
    for j in range(len(alike)):
        total = _ZERO
        for i in range(len(alike)):
            total += steps[j, i]
        totals[j] = total
    roots = _ONE / np.sqrt(totals + _SUM_EPSILON)
    for i in range(len(alike)):
        for j in range(len(alike)):
            steps[i, j] *= roots[j]
    return totals


@numba.njit(cache=True, nogil=True)
def _steps_by_ranges(alike: np.ndarray, steps: np.ndarray, theta1: np.float32) -> None:
    """Set similarities below theta1 to 0, copy the result to ``steps`` without the diagonal."""
    for j in range(len(alike)):
        for i in range(len(alike)):
            value = alike[j, i] if alike[j, i] >= theta1 else _ZERO
            alike[j, i] = value
            steps[j, i] = value
        steps[j, j] = _ZERO


@numba.njit(cache=True, nogil=True, fastmath=_ANY_ORDER)
def _add_by_sums(
    alike: np.ndarray, paths: np.ndarray, totals: np.ndarray, cut: np.float32, omega: np.float32, columns: np.ndarray
) -> None:
    """Add the combined correlation to ``columns``; ``totals``: column sums of the similarity without its diagonal."""
    row = np.empty(len(alike), np.float32)
    for j in range(len(alike)):
        step = _ONE / (totals[j] + _SUM_EPSILON)
        total = _ZERO
        for i in range(len(alike)):
            total += paths[j, i] * step
        share = step / (total + _SHARE_EPSILON)
        first = _ONE / (totals[j] + alike[j, j] + _SUM_EPSILON)
        total = _ZERO
        for i in range(len(alike)):
            high = paths[j, i] * share
            high = omega * high if high >= cut else _ZERO
            row[i] = max(alike[j, i] * first, high)
            total += row[i]
        share = _ONE / (total + _SHARE_EPSILON)
        for i in range(len(alike)):
            columns[j, i] += row[i] * share


@numba.njit(cache=True, nogil=True)
def _add_by_ranges(
    alike: np.ndarray, paths: np.ndarray, cut: np.float32, omega: np.float32, columns: np.ndarray
) -> None:
    """Add the combined correlation to ``columns``."""
    for j in range(len(alike)):
        low, scale = _low_and_scale(paths[j])
        for i in range(len(alike)):
            high = (paths[j, i] - low) * scale
            high = omega * high if high >= cut else _ZERO
            columns[j, i] += max(alike[j, i], high)


@numba.njit(cache=True, nogil=True)
def _add_columns(columns: np.ndarray, chosen: np.ndarray, sums: np.ndarray) -> None:
    """Add each column, min-maxed, to the sums ``(M, n)`` float64 of the maps that chose it; chosen: ``(M, n)`` bool."""
    row = np.empty(len(columns), np.float32)
    for j in range(len(columns)):
        low, scale = _low_and_scale(columns[j])
        for i in range(len(columns)):
            row[i] = (columns[j, i] - low) * scale
        for m in range(len(chosen)):
            if chosen[m, j]:
                for i in range(len(columns)):
                    sums[m, i] += row[i]


@numba.njit(cache=True, nogil=True, fastmath={"nnan", "nsz"})
def _low_and_scale(row: np.ndarray) -> tuple[np.float32, np.float32]:
    """The minimum of a row, and the factor that scales its range to 1; 0 for a constant row."""
    low = high = row[0]
    for value in row:
        low = min(low, value)
        high = max(high, value)
    return low, _ONE / (high - low) if high - low > _FLAT * high else _ZERO
