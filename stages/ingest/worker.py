"""Opens every image of a shard once."""

import hashlib

from pipeline.base.hashing import fingerprint
from pipeline.contract.context import Context
from pipeline.store.records import ImageName, ShardResult, Task, quarantined
from schemas import TABLES
from stages.vision.images import ImageError, decode

__all__ = ["IngestWorker"]

_COLUMNS = ["image_id", "uri", "label", "label_name", "split"]
_IDENTITY = ("image_id", "content_hash", "label", "label_name", "split")
"""What an image is. Where it lies does not matter."""


class IngestWorker:
    """Opens the images of one ingest stage's shards. stage: the stage's name in the run."""

    def __init__(self, stage: str, context: Context) -> None:
        self._stage = stage
        self._context = context

    def __call__(self, task: Task) -> ShardResult:
        """The rows of a shard; an image that cannot be decoded is quarantined with its reason."""
        good, bad = [], []
        for row in task.shard.listed.select(_COLUMNS).to_pylist():
            data = self._context.read(row["uri"])
            content_hash = hashlib.sha256(data).hexdigest()
            try:
                height, width = decode(data).shape[:2]
            except ImageError as error:
                name: ImageName = {"image_id": row["image_id"], "uri": row["uri"], "content_hash": content_hash}
                bad.append(quarantined(self._stage, name, str(error)))
                continue
            good.append({**row, "content_hash": content_hash, "width": width, "height": height})
        known = [[row[name] for name in _IDENTITY] for row in good]
        identity = fingerprint([known, [row["image_id"] for row in bad]])
        return ShardResult({"images": TABLES["images"].from_rows(good)}, quarantine=bad, identity=identity)
