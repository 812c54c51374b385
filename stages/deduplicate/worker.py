"""Rewrites the rows of a shard of images whose split changes; leaves others out."""

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.base.hashing import fingerprint
from pipeline.contract.context import Context
from pipeline.store.records import Done, LabelCounts, ShardResult, Task

__all__ = ["DeduplicateWorker"]


class DeduplicateWorker:
    """Changes the images of shards; caches the changes of the table duplicates that was read last."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._changes: tuple[str, pa.Table] | None = None

    def __call__(self, task: Task) -> ShardResult:
        """The images of a shard in the splits that they are used in."""
        (images,), (duplicates,) = task.inputs["images"], task.inputs["duplicates"]
        changes = self._of(duplicates)
        rows = self._context.table(images, "images")
        place = pc.index_in(rows["image_id"], value_set=changes["image_id"].combine_chunks())
        changed = pc.is_valid(place)
        if not pc.any(changed).as_py():
            return ShardResult({"images": rows}, identity=images.identity, labels=_labels(rows))
        used = changes["used_as"].take(place)
        said = pa.table({"image_id": rows["image_id"], "used_as": used}).filter(changed)
        identity = fingerprint([images.identity, *(column.to_pylist() for column in said.columns)])
        split = pc.if_else(changed, used, rows["split"])
        rows = rows.set_column(rows.schema.get_field_index("split"), rows.schema.field("split"), split)
        rows = rows.filter(pc.is_valid(split))
        return ShardResult({"images": rows}, identity=identity, labels=_labels(rows))

    def _of(self, duplicates: Done) -> pa.Table:
        """The images that change, each once, with the split that they are used in; null: they are left out."""
        if self._changes is None or self._changes[0] != duplicates.key:
            found = self._context.table(duplicates, "duplicates", ("image_id", "split", "used_as"))
            as_listed = pc.fill_null(pc.equal(found["split"], found["used_as"]), False)
            changes = found.filter(pc.invert(as_listed)).group_by(["image_id", "used_as"]).aggregate([])
            self._changes = (duplicates.key, changes)
        return self._changes[1]


def _labels(rows: pa.Table) -> LabelCounts:
    """How many images of each split and class there are, both in order."""
    counted = rows.group_by(["split", "label_name"]).aggregate([([], "count_all")]).to_pylist()
    counts: dict[str, dict[str, int]] = {}
    for row in sorted(counted, key=lambda row: (row["split"], row["label_name"])):
        counts.setdefault(row["split"], {})[row["label_name"]] = row["count_all"]
    return counts
