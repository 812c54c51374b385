"""Stage `ingest`: a data set's files -> the images table. One class for every reader."""

from collections.abc import Mapping, Sequence

from pipeline.base.dataset_uri import dataset_uri
from pipeline.base.errors import UsageError
from pipeline.base.hashing import fingerprint
from pipeline.base.params import mistake
from pipeline.contract.context import Context
from pipeline.contract.stage import SourceStage, Worker
from pipeline.store.layout import RecipeFolder
from pipeline.store.records import Shard
from pipeline.store.store import Store
from pipeline.worker.local_context import LocalContext
from stages.bases.splits import BOXED
from stages.ingest.reader import Reader, ReaderParams
from stages.ingest.replaced import Replaced, find_replaced, load_replaced, stamp_of
from stages.ingest.scan import Candidate, annotations, as_table, boxed, candidates, mask_stamps
from stages.ingest.sharding import (
    RowList,
    assign,
    label_counts,
    load_lists,
    save_lists,
    slices,
)

KIND = "ingest"
LIST, ANNOTATIONS, MASKS = "rows", "annotations", "masks"
"""Arguments of a shard: the key of its list of rows, and the fingerprints of the ground truth of its images and of the
stamps of their mask files."""


class Ingest(SourceStage[ReaderParams]):
    """Lists the data set, opens every image once: size, content hash; a bad one becomes a quarantined row.

    A shard is read again when the stamp of a file changes. What was found of it is told by ids and contents alone, and
    so are the keys of what reads it: a data set that moved, or was copied, is the same.
    """

    version = 2
    outputs = ("images",)
    per_image = True
    by_content = True

    def __init__(self, name: str, params: ReaderParams, reader: Reader[ReaderParams]) -> None:
        super().__init__(name, params)
        self.kind, self.Params, self.reader = f"{KIND}.{reader.name}", reader.Params, reader
        self._replaced: Replaced = {}

    @property
    def title(self) -> str:
        """The reader, and the last part of the root."""
        return f"{self.reader.name}:{self.root.rstrip('/').rsplit('/', 1)[-1]}"

    @property
    def root(self) -> str:
        """Where the data set is."""
        return self.params.root

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
        return self.params.rescan is not False

    def is_absent(self) -> bool:
        """Whether the reader would make the data set."""
        return self.reader.is_absent()

    def provide(self) -> None:
        """Let the reader make the data set. Raises UsageError where it cannot."""
        self.reader.provide()

    def list_shards(self, recipe: str, store: Store, payloads: bool) -> list[Shard]:
        """Shards of at most `shard_size` images; rows that earlier runs planned stay where they are."""
        folder = RecipeFolder(self.name, recipe)
        found = candidates(self.reader.scan(), self.params.dev_fraction)
        lists = assign(recipe, [row.fingerprint for row in found], load_lists(store, folder), self.params.shard_size)
        parts = list(zip(lists, slices(found, lists), strict=True))
        self._replaced = load_replaced(store, folder)
        if self.params.rescan == "content":
            self._replaced = {**self._replaced, **self._found_replaced(store, folder, parts)}
        return [self._shard(rows, part, payloads) for rows, part in parts]

    def known_shards(self, recipe: str, store: Store) -> list[Shard] | None:
        """The shards of the newest listing."""
        return store.listing(self.name, recipe)

    def keep_listing(self, recipe: str, shards: Sequence[Shard], store: Store) -> None:
        """Keep the rows of each shard, so that later runs plan the same shards, and then the listing."""
        folder = RecipeFolder(self.name, recipe)
        rows = [RowList(str(s.args[LIST]), tuple(s.listed.column("fingerprint").to_pylist())) for s in shards]
        save_lists(store, folder, rows)
        if self._replaced != load_replaced(store, folder):
            store.write(folder.replaced, self._replaced)
        store.keep_listing(self.name, recipe, shards)

    def worker(self, context: Context) -> Worker:
        """Opens images."""
        from stages.ingest.worker import IngestWorker

        return IngestWorker(self.name, context)

    def _shard(self, rows: RowList, part: Sequence[Candidate], payload: bool) -> Shard:
        return Shard(
            _key(rows, part, self._replaced),
            args={LIST: rows.key, ANNOTATIONS: annotations(part), MASKS: mask_stamps(part), BOXED: boxed(part)},
            rows=len(part),
            labels=label_counts(part),
            payload=as_table(part, self.name) if payload else None,
        )

    def _found_replaced(
        self, store: Store, folder: RecipeFolder, parts: Sequence[tuple[RowList, Sequence[Candidate]]]
    ) -> dict[str, str]:
        """The images of committed shards whose files hold something else now."""
        keys = {_key(rows, part, self._replaced): part for rows, part in parts}
        read = LocalContext(store, roots={self.name: self.root}).read
        found: dict[str, str] = {}
        for key, done in store.done(*folder, list(keys)).items():
            found |= find_replaced(store, done, keys[key], lambda uri: read(dataset_uri(self.name, uri)))
        return found


def _key(rows: RowList, part: Sequence[Candidate], replaced: Mapping[str, str]) -> str:
    return fingerprint([rows.key, *(stamp_of(row, replaced) for row in part)])
