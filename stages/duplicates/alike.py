"""Pictures that look alike: 64-bit perceptual hashes that differ in few bits, found without comparing every pair.

Two hashes that differ in at most d bits agree in at least m - d of m bands, whichever way their bits are divided
(Manku, Jain, Das Sarma, "Detecting near-duplicates for web crawling", WWW 2007). So hashes are sorted by every choice
of m - d bands, and only those are compared that agree there.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, combinations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

__all__ = ["DISTANCE", "groups_of_alike"]

DISTANCE = 4
"""The most bits in which the hashes of pictures that look alike may differ."""

BITS, BANDS = 64, DISTANCE + 2
_SETS = tuple(combinations(range(BANDS), BANDS - DISTANCE))
_BATCH = 4_000_000
"""Pairs that are held at once."""

Pairs = tuple[np.ndarray, np.ndarray]
"""Indices of the left and of the right element of each pair, (M,) int64 each."""


def groups_of_alike(hashes: np.ndarray) -> np.ndarray:
    """The group of each picture: pictures within `DISTANCE` of each other, directly or through other pictures.

    hashes: ``(N,)`` uint64. Returns: ``(N,)`` int64 numbers of groups; most groups have one picture.
    """
    values, own = np.unique(hashes, return_inverse=True)
    group = np.arange(len(values))
    for left, right in _batches(chain.from_iterable(_pairs(values, _mask(bands)) for bands in _SETS)):
        group = _joined(group, left, right)
    return group[own]


def _mask(bands: Sequence[int]) -> np.uint64:
    """The bits of some bands. A band takes every `BANDS`-th bit, for neighboring bits are correlated."""
    return np.uint64(sum(1 << bit for bit in range(BITS) if bit % BANDS in bands))


def _pairs(values: np.ndarray, mask: np.uint64) -> Iterator[Pairs]:
    """Indices of pairs of values that agree under a mask and are within the distance."""
    order = np.argsort(values & mask, kind="stable")
    placed = values[order]
    keys = placed & mask
    first = np.arange(len(values))
    for step in range(1, len(values)):
        first = first[first < len(values) - step]
        first = first[keys[first] == keys[first + step]]
        if not len(first):
            return
        close = first[np.bitwise_count(placed[first] ^ placed[first + step]) <= DISTANCE]
        yield order[close], order[close + step]


def _batches(pairs: Iterable[Pairs]) -> Iterator[Pairs]:
    """The same pairs, many at once: joining groups costs the same for one pair as for all."""
    kept: list[Pairs] = []
    size = 0
    for pair in pairs:
        kept.append(pair)
        size += len(pair[0])
        if size > _BATCH:
            yield _together(kept)
            kept, size = [], 0
    if kept:
        yield _together(kept)


def _together(pairs: Sequence[Pairs]) -> Pairs:
    return np.concatenate([left for left, _ in pairs]), np.concatenate([right for _, right in pairs])


def _joined(group: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The groups once each pair is in one group."""
    edges = coo_array((np.ones(len(left), bool), (group[left], group[right])), shape=(len(group), len(group)))
    _, joined = connected_components(edges, directed=False)
    return joined[group]
