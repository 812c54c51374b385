"""Opens every image of a shard once."""

import hashlib

from pipeline.contract.context import Context
from pipeline.store.records import ImageName, ShardResult, Task, quarantined
from schemas import TABLES
from stages.ingest.sharding import rows_of
from stages.vision.images import ImageError, decode

__all__ = ["IngestWorker"]


class IngestWorker:
    """Opens the images of one ingest stage's shards. stage: the stage's name in the run."""

    def __init__(self, stage: str, context: Context) -> None:
        self._stage = stage
        self._context = context

    def __call__(self, task: Task) -> ShardResult:
        """The rows of a shard; an image that cannot be decoded is quarantined with its reason."""
        good, bad = [], []
        for row in rows_of(task.shard).drop_columns(["fingerprint"]).to_pylist():
            data = self._context.read(row["uri"])
            content_hash = hashlib.sha256(data).hexdigest()
            try:
                height, width = decode(data).shape[:2]
            except ImageError as error:
                name: ImageName = {"image_id": row["image_id"], "uri": row["uri"], "content_hash": content_hash}
                bad.append(quarantined(self._stage, name, str(error)))
                continue
            good.append({**row, "content_hash": content_hash, "width": width, "height": height})
        return ShardResult({"images": TABLES["images"].from_rows(good)}, quarantine=bad)
