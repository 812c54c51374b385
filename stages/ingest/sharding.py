"""Stable shards of a growing data set: a row never moves to another shard; new images form new shards.

The lists of rows that earlier runs planned are kept in the store, in the order in which they were planned. A list all
of whose rows are still there, unchanged, is a shard as it stands. What remains of a list that lost rows is a shard of
its own, and so is every `size` rows that no list knows.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.hashing import fingerprint
from pipeline.store import Store


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


def load_lists(store: Store, folder: str) -> list[RowList]:
    """The lists that earlier runs planned, in planning order."""
    names = store.files.names(folder)
    found = store.files.get_many([f"{folder}/{name}" for name in names])
    entries = (json.loads(found[f"{folder}/{name}"]) for name in names if f"{folder}/{name}" in found)
    return [RowList(entry["key"], tuple(entry["fingerprints"])) for entry in entries]


def save_lists(store: Store, folder: str, lists: Sequence[RowList]) -> None:
    """Keep those lists that are not kept yet, after the others. Two runs that plan the same write the same names."""
    names = store.files.names(folder)
    known = {name.split("-")[1].removesuffix(".json") for name in names}
    number = int(names[-1].split("-")[0]) + 1 if names else 0
    for rows in lists:
        if rows.key not in known:
            body = json.dumps({"key": rows.key, "fingerprints": rows.fingerprints}).encode()
            store.files.put_if_absent(f"{folder}/{number:08d}-{rows.key}.json", body)
            number += 1


def slices(table: pa.Table, lists: Sequence[RowList]) -> Iterator[pa.Table]:
    """The rows of each list, as tables of their own."""
    position = {name: i for i, name in enumerate(table.column("fingerprint").to_pylist())}
    for rows in lists:
        yield table.take([position[row] for row in rows.fingerprints])


def label_counts(table: pa.Table) -> dict[str, dict[str, int]]:
    """Count the images of each split and class: split -> class name -> number of images."""
    counts: dict[str, dict[str, int]] = {}
    grouped = table.group_by(["split", "label_name"]).aggregate([("image_id", "count")])
    ordered = grouped.take(pc.sort_indices(grouped, [("split", "ascending"), ("label_name", "ascending")]))
    for row in ordered.to_pylist():
        counts.setdefault(row["split"], {})[row["label_name"]] = row["image_id_count"]
    return counts
