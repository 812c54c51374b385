"""Finding rows with equal values: first by 64 bits of each content hash, so that few rows of a data set are read."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.bases.duplicate_groups import numbered

__all__ = ["is_one_of", "prefixes", "repeated", "together"]

_DIGITS = 16


def prefixes(content_hashes: Iterable[str]) -> np.ndarray:
    """The first 64 bits of hexadecimal hashes, (N,) uint64."""
    return np.array([int(each[:_DIGITS], 16) for each in content_hashes], np.uint64)


def repeated(values: np.ndarray) -> np.ndarray:
    """The values that occur more than once in values (N,): sorted, each once, (M,) of the same dtype."""
    found, count = np.unique(values, return_counts=True)
    return found[count > 1]


def is_one_of(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Whether each of the values (N,) is in `known`, a sorted array (M,): (N,) bool."""
    if not len(known):
        return np.zeros(len(values), bool)
    place = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.asarray(known[place] == values)


def together(rows: pa.Table, by: str) -> pa.Table:
    """The rows that share their value of column `by` with another row; null equals nothing.

    Returns: the rows in the order of `image_id`, with a column `group`: the first image id of the rows that agree.
    """
    rows = rows.filter(pc.is_valid(rows[by])).sort_by("image_id").combine_chunks()
    numbers = numbered(rows[by])
    _, first, count = np.unique(numbers, return_index=True, return_counts=True)
    return rows.append_column("group", rows["image_id"].take(first[numbers])).filter(pa.array(count[numbers] > 1))
