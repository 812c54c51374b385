"""Stable shards of a growing data set: a row never moves to another shard; new images form new shards.

The lists of rows that earlier runs planned are kept in the store, in the order in which they were planned. A list all
of whose rows are still there, unchanged, is a shard as it stands. What remains of a list that lost rows is a shard of
its own, and so is every `size` rows that no list knows.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipeline.base.hashing import fingerprint
from pipeline.store.layout import ROWS, RecipeFolder, row_list_key
from pipeline.store.records import Shard
from pipeline.store.store import Store, damage_in_one_line
from stages.ingest.scan import Candidate


@dataclass(frozen=True)
class RowList:
    """The fingerprints of one shard's rows; `key` identifies the shard."""

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
    folder = recipe.area(ROWS)
    names = store.files.names(folder)
    found = store.files.get_many([f"{folder}/{name}" for name in names])
    return [_row_list(path, found[path]) for path in (f"{folder}/{name}" for name in names) if path in found]


def _row_list(path: str, data: bytes) -> RowList:
    with damage_in_one_line(path):
        entry = json.loads(data)
        return RowList(str(entry["key"]), tuple(map(str, entry["fingerprints"])))


def save_lists(store: Store, recipe: RecipeFolder, lists: Sequence[RowList]) -> None:
    """Keep those lists that are not kept yet, after the others. Two runs that plan the same write the same names."""
    kept = [row_list_key(name) for name in store.files.names(recipe.area(ROWS))]
    number, known = max((own for own, _ in kept), default=-1) + 1, {key for _, key in kept}
    for rows in lists:
        if rows.key not in known:
            body = json.dumps({"key": rows.key, "fingerprints": rows.fingerprints}).encode()
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


def rows_of(shard: Shard) -> pa.Table:
    """The rows that a listed shard carries. Raises TypeError for one that was planned without a listing."""
    if not isinstance(shard.payload, pa.Table):
        raise TypeError(f"shard {shard.key} was not listed: it carries no rows")
    return shard.payload
