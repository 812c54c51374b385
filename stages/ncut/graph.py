"""Graphs as the eigensolver uses them: degrees, and a product with a vector.

A binary graph is ``epsilon J + (1 - epsilon) E`` with J all ones and E of bits: the product with J is a sum; the one
with E takes eight bits at a time and looks up their partial sum in a table.
"""

from dataclasses import dataclass
from typing import Protocol

import numba
import numpy as np

from stages.ncut.affinity import affinity
from stages.ncut.parameters import CutParameters

__all__ = ["BinaryGraph", "Graph", "WeightedGraph", "graph_of"]


class Graph(Protocol):
    """A symmetric graph of n tokens.

    degrees: ``(n,)`` float64, row sums of the weights. neighbours: ``(n,)`` int64, number of tokens joined to
    each, itself left out.
    """

    @property
    def degrees(self) -> np.ndarray:
        """Row sums."""

    @property
    def neighbours(self) -> np.ndarray:
        """Counts of joined tokens."""

    def product(self, vector: np.ndarray) -> np.ndarray:
        """The weights times a vector, ``(n,)`` float64."""

    def dense(self) -> np.ndarray:
        """The weights, ``(n, n)`` float64."""


@dataclass(frozen=True)
class BinaryGraph:
    """Edges of weight 1, all other pairs of weight epsilon.

    edges: ``(g, n)`` uint8, g even; bit k of ``edges[b, i]`` says whether token ``8 b + k`` is i or joined to i.
    """

    edges: np.ndarray
    epsilon: float
    degrees: np.ndarray
    neighbours: np.ndarray

    def product(self, vector: np.ndarray) -> np.ndarray:
        """The weights times a vector, ``(n,)`` float64."""
        return self.epsilon * vector.sum() + (1 - self.epsilon) * _edge_sums(self.edges, vector)

    def dense(self) -> np.ndarray:
        """The weights, ``(n, n)`` float64."""
        joined = np.unpackbits(self.edges, axis=0, count=self.edges.shape[1], bitorder="little")
        return np.where(joined, 1.0, self.epsilon)


@dataclass(frozen=True)
class WeightedGraph:
    """Any symmetric weights ``(n, n)`` float64."""

    weights: np.ndarray
    degrees: np.ndarray
    neighbours: np.ndarray

    def product(self, vector: np.ndarray) -> np.ndarray:
        """The weights times a vector, ``(n,)`` float64."""
        return self.weights @ vector

    def dense(self) -> np.ndarray:
        """The weights, ``(n, n)`` float64."""
        return self.weights


def graph_of(similarity: np.ndarray, parameters: CutParameters) -> Graph:
    """The graph whose weights are `affinity` of a similarity ``(n, n)``."""
    if parameters.graph == "soft":
        weights = affinity(similarity, parameters)
        joined = (similarity >= parameters.tau) & (similarity > parameters.epsilon)
        joined &= np.tri(len(joined), k=-1, dtype=bool)
        return WeightedGraph(weights, weights.sum(axis=1), joined.sum(axis=0) + joined.sum(axis=1))
    size = len(similarity)
    edges = np.zeros((2 * -(-size // 16), size), np.uint8)
    _pack(np.ascontiguousarray(similarity), similarity.dtype.type(parameters.tau), edges)
    joined = _edge_sums(edges, np.ones(size))
    degrees = parameters.epsilon * size + (1 - parameters.epsilon) * joined
    return BinaryGraph(edges, parameters.epsilon, degrees, joined.astype(np.int64) - 1)


@numba.njit(cache=True, nogil=True)
def _pack(similarity: np.ndarray, tau: float, edges: np.ndarray) -> None:
    """Fill ``edges`` from the lower triangle: its rows first, which the compiler vectorizes, then their transpose."""
    size = len(similarity)
    for token in range(size):
        row, bit = edges[token // 8], np.uint8(1 << token % 8)
        for other in range(token):
            row[other] |= bit if similarity[token, other] > tau else np.uint8(0)
        row[token] |= bit
    for group in range((size + 7) // 8):
        start, end = 8 * group, min(8 * group + 8, size)
        for other in range(group + 1):
            block = np.uint64(0)
            for column in range(min(8, size - 8 * other)):
                block |= np.uint64(edges[group, 8 * other + column]) << np.uint64(8 * column)
            block = _transposed(block)
            for token in range(start, end):
                edges[other, token] |= np.uint8(block >> np.uint64(8 * (token - start)) & np.uint64(255))


@numba.njit(cache=True, nogil=True, inline="always")
def _transposed(block: np.uint64) -> np.uint64:
    """Transpose an 8x8 matrix of bits, one byte a column, by swapping squares of 1, 2 and 4 bits in turn."""
    swap = (block ^ (block >> np.uint64(7))) & np.uint64(0x00AA00AA00AA00AA)
    block = block ^ swap ^ (swap << np.uint64(7))
    swap = (block ^ (block >> np.uint64(14))) & np.uint64(0x0000CCCC0000CCCC)
    block = block ^ swap ^ (swap << np.uint64(14))
    swap = (block ^ (block >> np.uint64(28))) & np.uint64(0x00000000F0F0F0F0)
    return block ^ swap ^ (swap << np.uint64(28))


@numba.njit(cache=True, nogil=True)
def _edge_sums(edges: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """E times a vector, ``(n,)`` float64; two groups of eight tokens are taken at once."""
    size = edges.shape[1]
    padded = np.zeros(8 * len(edges))
    padded[:size] = vector
    sums, first, second = np.zeros(size), np.empty(256), np.empty(256)
    for group in range(0, len(edges), 2):
        _partial_sums(padded[8 * group : 8 * group + 8], first)
        _partial_sums(padded[8 * group + 8 : 8 * group + 16], second)
        for token in range(size):
            sums[token] += first[edges[group, token]] + second[edges[group + 1, token]]
    return sums


@numba.njit(cache=True, nogil=True, inline="always")
def _partial_sums(values: np.ndarray, table: np.ndarray) -> None:
    """Sums of all 256 subsets of eight values; the bits of an index select its subset."""
    table[0] = 0.0
    for bit in range(8):
        known = 1 << bit
        for subset in range(known):
            table[known + subset] = table[subset] + values[bit]
