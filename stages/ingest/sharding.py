"""Stable lists of a growing data set's rows: a row never moves to another list; new images form new lists.

The lists of rows that earlier runs planned are kept in the store, in the order in which they were planned. A list all
of whose rows are still there, unchanged, is a shard as it stands. What remains of a list that lost rows is a shard of
its own, and so is every `size` rows that no list knows.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.base.hashing import fingerprint
from pipeline.store.encoding import read_rows, write_rows
from pipeline.store.layout import ROWS, RecipeFolder, row_list_key
from pipeline.store.sealed import seal
from pipeline.store.store import DamagedError, Store
from stages.ingest.scan import Candidate


@dataclass(frozen=True)
class RowList:
    """The fingerprints of one shard's rows; `key` identifies the list, whatever the files of its images hold."""

    key: str
    fingerprints: tuple[str, ...]

    @classmethod
    def of(cls, recipe: str, fingerprints: Sequence[str]) -> "RowList":
        """The list of a shard of `recipe`."""
        return cls(fingerprint([recipe, *fingerprints]), tuple(fingerprints))


def assign(recipe: str, current: Sequence[str], known: Sequence[RowList], size: int) -> list[RowList]:
    """Divide the rows that exist now into shards.

    current: fingerprints of all rows, in the data's order, no two alike. known: earlier lists, in planning order.
    """
    free = dict.fromkeys(current)
    kept: list[RowList] = []
    broken: list[RowList] = []
    for rows in known:
        whole = all(row in free for row in rows.fingerprints)
        (kept if whole else broken).append(rows)
        if whole:
            for row in rows.fingerprints:
                del free[row]
    for rows in broken:
        remains = [row for row in rows.fingerprints if row in free]
        if remains:
            kept.append(RowList.of(recipe, remains))
            for row in remains:
                del free[row]
    new = list(free)
    kept += [RowList.of(recipe, new[start : start + size]) for start in range(0, len(new), size)]
    return kept


def load_lists(store: Store, recipe: RecipeFolder) -> list[RowList]:
    """The lists that earlier runs planned, in planning order. Raises DamagedError."""
    lists = []
    for _, found in sorted(store.read_each(recipe.area(ROWS), read_rows).items()):
        if isinstance(found, DamagedError):
            raise found
        key, rows = found
        lists.append(RowList(key, tuple(rows)))
    return lists


def save_lists(store: Store, recipe: RecipeFolder, lists: Sequence[RowList]) -> None:
    """Keep those lists that are not kept yet, after the others. Two runs that plan the same write the same names."""
    kept = [row_list_key(name) for name in store.files.names(recipe.area(ROWS))]
    number, known = max((own for own, _ in kept), default=-1) + 1, {key for _, key in kept}
    for rows in lists:
        if rows.key not in known:
            body = seal(write_rows(rows.key, rows.fingerprints))
            store.files.put_if_absent(recipe.row_list(number, rows.key), body)
            number += 1


def slices(found: Sequence[Candidate], lists: Sequence[RowList]) -> Iterator[list[Candidate]]:
    """The rows of each list."""
    by_fingerprint = {row.fingerprint: row for row in found}
    for rows in lists:
        yield [by_fingerprint[row] for row in rows.fingerprints]


def label_counts(rows: Sequence[Candidate]) -> dict[str, dict[str, int]]:
    """Count the images of each split and class: split -> class name -> number of images, both in order."""
    counted = Counter((row.split, row.image.label_name) for row in rows)
    counts: dict[str, dict[str, int]] = {}
    for (split, label_name), images in sorted(counted.items()):
        counts.setdefault(split, {})[label_name] = images
    return counts
