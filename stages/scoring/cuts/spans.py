"""Maxima over intervals of cuts: a box is alive over an interval, and every cut wants the best box alive at it.

A sparse table holds maxima of spans of 1, 2, 4, ... cuts. Raising an interval touches two overlapping spans; the single
cuts are read once, at the end.
"""

import numba
import numpy as np

from stages.scoring.cuts.ring import Integer

CUTS = 255
SPANS = 8


@numba.njit(cache=True, nogil=True)
def span_table() -> np.ndarray:
    """An empty table: (8, 256) float64, row k for spans of 2^k cuts."""
    return np.zeros((SPANS, CUTS + 1))


@numba.njit(cache=True, nogil=True)
def raise_span(table: np.ndarray, low: Integer, high: Integer, value: float) -> None:
    """Raise the maxima of the cuts low..high, both included, to ``value``. table: ``(levels, cuts)``."""
    row = 0
    while 2 << row <= high - low + 1:
        row += 1
    second = high + 1 - (1 << row)
    table[row, low] = max(table[row, low], value)
    table[row, second] = max(table[row, second], value)


@numba.njit(cache=True, nogil=True)
def cut_maxima(table: np.ndarray) -> np.ndarray:
    """Maxima (255,) of the single cuts; the table is used up."""
    for row in range(SPANS - 1, 0, -1):
        half = 1 << (row - 1)
        for low in range(CUTS + 1 - 2 * half):
            value = table[row, low]
            table[row - 1, low] = max(table[row - 1, low], value)
            table[row - 1, low + half] = max(table[row - 1, low + half], value)
    return table[0, :CUTS].copy()
