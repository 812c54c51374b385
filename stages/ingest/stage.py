"""Stage `ingest`: a data set's files -> the images table. One class for every reader."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.errors import UsageError
from pipeline.params import mistake
from pipeline.stage import Context, Inputs, Shard, ShardResult, Stage, Task, quarantined
from pipeline.store import Store
from schemas import TABLES
from stages.ingest import demo_reader, folder, tiny_imagenet
from stages.ingest.params import ReaderParams
from stages.ingest.scan import Scan, candidates
from stages.ingest.sharding import RowList, assign, label_counts, load_lists, save_lists, slices
from stages.vision.images import ImageError, decode


class Ingest(Stage):
    """Lists the data set, opens every image once: size, content hash; a bad one becomes a quarantined row."""

    version = 1
    outputs = ("images",)
    per_image = True
    scan: Callable[[Any], Scan]
    params: ReaderParams

    def check(self) -> None:
        """Refuse a missing root and impossible numbers."""
        if wrong := mistake(self.params):
            raise UsageError(f"dataset: {wrong}")
        if not self.params.root:
            raise UsageError("dataset: root is missing")
        if not 0 <= self.params.dev_fraction < 1:
            raise UsageError(f"dataset: dev_fraction must be in [0, 1), not {self.params.dev_fraction}")

    def plan(self, recipe: str, inputs: Inputs, store: Store) -> list[Shard]:
        """Shards of at most `shard_size` images; rows that earlier runs planned stay where they are."""
        if not self.params.rescan and (trusted := self._trusted(recipe, store)) is not None:
            return trusted
        table = candidates(type(self).scan(self.params), self.params.dev_fraction)
        known = load_lists(store, self._folder(recipe, "rows"))
        lists = assign(recipe, table.column("fingerprint").to_pylist(), known, self.params.shard_size)
        return [
            Shard(key=rows.key, rows=part.num_rows, labels=label_counts(part), payload=part)
            for rows, part in zip(lists, slices(table, lists), strict=True)
        ]

    def prepare(self, recipe: str, shards: Sequence[Shard], store: Store) -> None:
        """Keep the lists of rows, so that later runs plan the same shards."""
        lists = [RowList(s.key, tuple(s.payload.column("fingerprint").to_pylist())) for s in shards if s.payload]
        save_lists(store, self._folder(recipe, "rows"), lists)

    def worker(self, context: Context) -> "_Opener":
        """Opens images."""
        return _Opener(self.name, context)

    def _trusted(self, recipe: str, store: Store) -> list[Shard] | None:
        newest = store.newest(self.name)
        return store.set_shards(self.name, *newest) or None if newest and newest[0] == recipe else None

    def _folder(self, recipe: str, name: str) -> str:
        return f"{self.name}/{recipe}/{name}"


class _Opener:
    def __init__(self, stage: str, context: Context) -> None:
        self._stage = stage
        self._context = context

    def __call__(self, task: Task) -> ShardResult:
        good, bad = [], []
        for row in task.shard.payload.drop_columns(["fingerprint"]).to_pylist():
            data = self._context.read(row["uri"])
            content_hash = hashlib.sha256(data).hexdigest()
            try:
                height, width = decode(data).shape[:2]
            except ImageError as error:
                bad.append(quarantined(self._stage, {**row, "content_hash": content_hash}, str(error)))
                continue
            good.append({**row, "width": width, "height": height, "content_hash": content_hash})
        return ShardResult({"images": TABLES["images"].from_rows(good)}, quarantine=bad)


class IngestFolder(Ingest):
    """Class sub-folders."""

    kind = "ingest.folder"
    Params = folder.FolderParams
    scan = staticmethod(folder.scan)


class IngestTinyImagenet(Ingest):
    """The public layout of Tiny ImageNet."""

    kind = "ingest.tiny_imagenet"
    Params = tiny_imagenet.TinyImagenetParams
    scan = staticmethod(tiny_imagenet.scan)


class IngestDemo(Ingest):
    """The demo data set, composed on first use; then read as an ordinary folder."""

    kind = "ingest.demo"
    Params = demo_reader.DemoParams
    scan = staticmethod(demo_reader.scan)
