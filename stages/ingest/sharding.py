"""Dividing the rows of a growing data set into stable shards: planned rows stay together, new rows form new shards.

The row lists that earlier runs planned are kept in the store, in planning order. A list whose rows all still exist,
unchanged, is a shard as it is. The remaining rows of a list that lost some form a new shard. Rows that are in no list
form new shards of `size` rows.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.base.hashing import DIGITS, fingerprint
from pipeline.base.json_types import Json
from pipeline.store.encoding import read_rows, write_rows
from pipeline.store.layout import ROWS, RecipeFolder, row_list_key
from pipeline.store.sealed import seal
from pipeline.store.store import DamagedError, Store
from stages.ingest.scan import Candidate

Numbers = npt.NDArray[np.uint64]
"""Row fingerprints as numbers, (N,) uint64."""


@dataclass(frozen=True)
class RowList:
    """The fingerprints of one shard's rows; `key` identifies the list and does not depend on the image files.

    packed: the fingerprints, concatenated, 8 bytes each (big-endian).
    """

    key: str
    packed: bytes

    @classmethod
    def of(cls, recipe: str, numbers: Numbers) -> "RowList":
        """The list of a shard of `recipe`."""
        packed = numbers.astype(">u8").tobytes()
        return cls(fingerprint([recipe, *_texts(packed)]), packed)

    @classmethod
    def parse(cls, key: str, texts: Iterable[str]) -> "RowList":
        """The list of these fingerprints. Raises ValueError for a text that is not a fingerprint."""
        digits = list(texts)
        packed = bytes.fromhex("".join(digits))
        if any(len(each) != DIGITS for each in digits) or 2 * len(packed) != DIGITS * len(digits):
            raise ValueError(f"a fingerprint has {DIGITS} digits")
        return cls(key, packed)

    @property
    def fingerprints(self) -> list[str]:
        """The fingerprints as texts, in the order of the list."""
        return _texts(self.packed)

    @property
    def numbers(self) -> Numbers:
        """The fingerprints as numbers, in the order of the list."""
        return np.frombuffer(self.packed, ">u8").astype(np.uint64)


def _texts(packed: bytes) -> list[str]:
    digits = packed.hex()
    return [digits[start : start + DIGITS] for start in range(0, len(digits), DIGITS)]


class Part(NamedTuple):
    """A shard's rows: their list, and the index of each in the current rows, (N,) int64."""

    rows: RowList
    places: npt.NDArray[np.int64]


def assign(recipe: str, current: Numbers, known: Sequence[RowList], size: int) -> list[Part]:
    """Divide the current rows into shards.

    current: fingerprints of all rows, in data order, unique. known: earlier lists, in planning order. size: rows of a
    new shard.
    """
    free = _Free(current)
    kept: list[Part] = []
    broken: list[RowList] = []
    for rows in known:
        places = free.places(rows)
        if (places >= 0).all():
            kept.append(free.take(rows, places))
        else:
            broken.append(rows)
    for rows in broken:
        places = free.places(rows)
        if len(remains := places[places >= 0]):
            kept.append(free.take(RowList.of(recipe, current[remains]), remains))
    new = free.left()
    for start in range(0, len(new), size):
        places = new[start : start + size]
        kept.append(Part(RowList.of(recipe, current[places]), places))
    return kept


class _Free:
    """The rows that no list has taken yet."""

    def __init__(self, current: Numbers) -> None:
        self._order = np.argsort(current)
        self._sorted = current[self._order]
        self._free = np.ones(len(current), bool)

    def places(self, rows: RowList) -> npt.NDArray[np.int64]:
        """The index of each row of a list in the current rows; -1 for a row that is gone or taken."""
        numbers = rows.numbers
        if not len(self._free):
            return np.full(len(numbers), -1)
        found = np.minimum(np.searchsorted(self._sorted, numbers), len(self._free) - 1)
        places = self._order[found]
        return np.where((self._sorted[found] == numbers) & self._free[places], places, -1)

    def take(self, rows: RowList, places: npt.NDArray[np.int64]) -> Part:
        """Assign rows to a list."""
        self._free[places] = False
        return Part(rows, places)

    def left(self) -> npt.NDArray[np.int64]:
        """The indices of the rows that no list has taken."""
        return np.flatnonzero(self._free)


def load_lists(store: Store, recipe: RecipeFolder) -> list[RowList]:
    """The lists that earlier runs planned, in planning order. Raises DamagedError."""
    lists = []
    for _, found in sorted(store.read_each(recipe.area(ROWS), _read_list).items()):
        if isinstance(found, DamagedError):
            raise found
        lists.append(found)
    return lists


def _read_list(path: str, said: Mapping[str, Json]) -> RowList:
    return RowList.parse(*read_rows(path, said))


def save_lists(store: Store, recipe: RecipeFolder, lists: Sequence[RowList]) -> None:
    """Save the lists that are not stored yet, numbered after the stored ones; equal plans write equal names."""
    kept = [row_list_key(name) for name in store.files.names(recipe.area(ROWS))]
    number, known = max((own for own, _ in kept), default=-1) + 1, {key for _, key in kept}
    for rows in lists:
        if rows.key not in known:
            body = seal(write_rows(rows.key, rows.fingerprints))
            store.files.put_if_absent(recipe.row_list(number, rows.key), body)
            number += 1


def label_counts(rows: Sequence[Candidate]) -> dict[str, dict[str, int]]:
    """Count the images of each split and class: split -> class name -> number of images, both in order."""
    counted = Counter((row.split, row.image.label_name) for row in rows)
    counts: dict[str, dict[str, int]] = {}
    for (split, label_name), images in sorted(counted.items()):
        counts.setdefault(split, {})[label_name] = images
    return counts
