"""Annotations of a shard of the listing as rows, each mask with the hash of its file."""

import hashlib
from collections.abc import Mapping, Sequence

from pipeline.base.hashing import fingerprint
from pipeline.contract.context import Context
from pipeline.store.records import ShardResult, Task
from schemas import TABLES

__all__ = ["TruthWorker"]

_COLUMNS = ["image_id", "boxes", "mask_uris", "ignore_uris"]


class TruthWorker:
    """Makes the rows of the annotated images."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __call__(self, task: Task) -> ShardResult:
        """The rows of a shard."""
        listed = task.shard.listed.select(_COLUMNS).to_pylist()
        rows = [self._row(row) for row in listed if row["boxes"] or row["mask_uris"] or row["ignore_uris"]]
        hashes = [[str(row["image_id"]), repr(row["mask_hashes"]), repr(row["ignore_hashes"])] for row in rows]
        said = task.shard.args
        identity = fingerprint([said["annotations"], hashes]) if "masks" in said else str(said["annotations"])
        return ShardResult({"truth": TABLES["truth"].from_rows(rows)}, identity=identity)

    def _row(self, listed: Mapping[str, Sequence[str]]) -> dict[str, object]:
        hashes = {name: [self._hash(uri) for uri in listed[f"{name}_uris"]] for name in ("mask", "ignore")}
        return {**listed, "mask_hashes": hashes["mask"], "ignore_hashes": hashes["ignore"]}

    def _hash(self, uri: str) -> str:
        return hashlib.sha256(self._context.read(uri)).hexdigest()
