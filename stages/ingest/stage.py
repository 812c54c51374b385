"""Stage `ingest`: a data set's files -> the images table. One class for every reader."""

from collections.abc import Sequence

from pipeline.base.errors import UsageError
from pipeline.base.params import mistake
from pipeline.contract.context import Context
from pipeline.contract.stage import SourceStage, Worker
from pipeline.store.layout import RecipeFolder
from pipeline.store.records import Shard
from pipeline.store.store import Store
from stages.ingest.reader import Reader, ReaderParams
from stages.ingest.scan import as_table, candidates
from stages.ingest.sharding import (
    RowList,
    assign,
    label_counts,
    load_lists,
    rows_of,
    save_lists,
    slices,
)

KIND = "ingest"


class Ingest(SourceStage[ReaderParams]):
    """Lists the data set, opens every image once: size, content hash; a bad one becomes a quarantined row."""

    version = 1
    outputs = ("images",)
    per_image = True

    def __init__(self, name: str, params: ReaderParams, reader: Reader[ReaderParams]) -> None:
        super().__init__(name, params)
        self.kind, self.Params, self.reader = f"{KIND}.{reader.name}", reader.Params, reader

    def check(self) -> None:
        """Refuse a missing root and impossible numbers."""
        if wrong := mistake(self.params):
            raise UsageError(f"dataset: {wrong}")
        if not self.params.root:
            raise UsageError("dataset: root is missing")
        if not 0 <= self.params.dev_fraction < 1:
            raise UsageError(f"dataset: dev_fraction must be in [0, 1), not {self.params.dev_fraction}")

    @property
    def relists(self) -> bool:
        """Whether the config wants to see new images."""
        return self.params.rescan

    def is_absent(self) -> bool:
        """Whether the reader would make the data set."""
        return self.reader.is_absent()

    def provide(self) -> None:
        """Let the reader make the data set. Raises UsageError where it cannot."""
        self.reader.provide()

    def list_shards(self, recipe: str, store: Store, payloads: bool) -> list[Shard]:
        """Shards of at most `shard_size` images; rows that earlier runs planned stay where they are."""
        found = candidates(self.reader.scan(), self.params.dev_fraction)
        known = load_lists(store, RecipeFolder(self.name, recipe))
        lists = assign(recipe, [row.fingerprint for row in found], known, self.params.shard_size)
        return [
            Shard(rows.key, rows=len(part), labels=label_counts(part), payload=as_table(part) if payloads else None)
            for rows, part in zip(lists, slices(found, lists), strict=True)
        ]

    def known_shards(self, recipe: str, store: Store) -> list[Shard] | None:
        """The shards of the newest listing."""
        return store.listing(self.name, recipe)

    def keep_listing(self, recipe: str, shards: Sequence[Shard], store: Store) -> None:
        """Keep the rows of each shard, so that later runs plan the same shards, and then the listing."""
        folder = RecipeFolder(self.name, recipe)
        rows = [RowList(s.key, tuple(rows_of(s).column("fingerprint").to_pylist())) for s in shards]
        save_lists(store, folder, rows)
        store.keep_listing(self.name, recipe, shards)

    def worker(self, context: Context) -> Worker:
        """Opens images."""
        from stages.ingest.worker import IngestWorker

        return IngestWorker(self.name, context)
