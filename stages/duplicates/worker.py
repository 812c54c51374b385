"""Reads the content hashes of all shards of images, then the rows of the few images that share theirs."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.base.hashing import DIGITS, canonical
from pipeline.contract.context import Context
from pipeline.store.records import Done, ShardResult, Task
from schemas import TABLES
from stages.duplicates.equal import is_one_of, prefixes, repeated
from stages.duplicates.groups import IMAGE_COLUMNS, duplicate_rows
from stages.duplicates.options import DuplicatesParams

__all__ = ["DuplicatesWorker"]

_ROWS = 10_000


class DuplicatesWorker:
    """Finds the groups of one data set; holds 64 bits of each image's hashes, and the rows of images in groups."""

    def __init__(self, params: DuplicatesParams, context: Context) -> None:
        self._params, self._context = params, context

    def __call__(self, task: Task) -> ShardResult:
        """All groups."""
        ids, numbers = self._alike(task.inputs["hashes"])
        images = self._images(task.inputs["images"], ids)
        alike = pa.array(numbers, pa.int64()).take(pc.index_in(images["image_id"], value_set=ids))
        rows = duplicate_rows(images.append_column("alike", alike), self._params.policy)
        schema = TABLES["duplicates"].schema
        rows = rows.select(schema.names).cast(schema)
        return ShardResult({"duplicates": rows}, identity=_identity(rows))

    def _images(self, dones: Sequence[Done], alike: pa.Array) -> pa.Table:
        """The images whose first 64 bits of content hash occur twice, and those named in `alike`."""
        found = [prefixes(self._table(done, "content_hash")["content_hash"].to_pylist()) for done in dones]
        several = repeated(np.concatenate(found)) if found else np.array([], np.uint64)
        parts = [TABLES["images"].empty().select(list(IMAGE_COLUMNS))]
        for done, own in zip(dones, found, strict=True):
            chosen = is_one_of(own, several)
            if len(alike):
                chosen |= pc.is_in(self._table(done, "image_id")["image_id"], value_set=alike).to_numpy()
            if chosen.any():
                parts.append(self._table(done, *IMAGE_COLUMNS).filter(pa.array(chosen)))
        return pa.concat_tables(parts)

    def _table(self, done: Done, *columns: str) -> pa.Table:
        return self._context.table(done, "images", columns)

    def _alike(self, dones: Sequence[Done]) -> tuple[pa.Array, np.ndarray]:
        """The ids of images that look like another, and the number of the group of each, (N,) int64."""
        if not dones:
            return pa.array([], pa.string()), np.array([], np.int64)
        from stages.duplicates.alike import groups_of_alike  # SciPy's graphs are slow to import

        found = [prefixes(self._hashes(done)["perceptual_hash"].to_pylist()) for done in dones]
        groups = groups_of_alike(np.concatenate(found))
        several = np.bincount(groups)[groups] > 1
        of_each = np.split(several, np.cumsum([len(own) for own in found])[:-1])
        ids = [
            self._hashes(done)["image_id"].filter(pa.array(chosen)).to_pylist()
            for done, chosen in zip(dones, of_each, strict=True)
            if chosen.any()
        ]
        return pa.array([each for own in ids for each in own], pa.string()), groups[several]

    def _hashes(self, done: Done) -> pa.Table:
        """The images of a shard that have a perceptual hash."""
        return self._context.table(done, "perceptual_hashes", filters=pc.is_valid(pc.field("perceptual_hash")))


def _identity(rows: pa.Table) -> str:
    """A hash of the rows, computed in blocks."""
    digest = hashlib.sha256()
    for start in range(0, rows.num_rows, _ROWS):
        for column in rows.slice(start, _ROWS).columns:
            digest.update(canonical(column.to_pylist()))
    return digest.hexdigest()[:DIGITS]
