"""Stage `ingest`: a data set's files -> the images table. One class for every reader."""

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipeline.base.dataset_uri import dataset_uri
from pipeline.base.errors import UsageError
from pipeline.base.hashing import fingerprint
from pipeline.base.json_types import Json
from pipeline.base.params import mistake
from pipeline.contract.context import Context
from pipeline.contract.stage import SourceStage, Worker
from pipeline.store.layout import RecipeFolder
from pipeline.store.records import Shard
from pipeline.store.store import Store
from pipeline.worker.local_context import LocalContext
from stages.bases.splits import BOXED
from stages.ingest.class_list import with_classes
from stages.ingest.contents import (
    Contents,
    Read,
    contents_of,
    mask_stamp,
    masks_of,
    replaced_images,
    replaced_masks,
    stamp_of,
)
from stages.ingest.reader import Reader, ReaderParams
from stages.ingest.reviewed import with_reviewed
from stages.ingest.scan import Candidate, Candidates, annotations, as_table, boxed, candidates
from stages.ingest.sharding import Part, RowList, assign, label_counts, load_lists, save_lists
from stages.ingest.understood import Understood

_LOG = logging.getLogger("weakbox.ingest")

KIND = "ingest"
LIST, ANNOTATIONS, MASKS, CONTENTS = "rows", "annotations", "masks", "contents"
"""Arguments of a shard: the key of its row list, the fingerprints of its images' ground truth and of the stamps of
their mask files, and the content hashes of files that were replaced with their stamp kept."""


class _Listed(NamedTuple):
    """The images that were found, and how they are divided into shards."""

    found: Candidates
    parts: Sequence[Part]


class Ingest(SourceStage[ReaderParams]):
    """Lists the data set and opens every image once for its size and content hash; bad images are quarantined.

    A shard is read again when the stamp of a file changes. Its identity, and with it the keys of downstream shards,
    depends on image ids, labels, splits and contents, not on paths: a data set that was moved or copied is the same.
    """

    version = 3
    outputs = ("images",)
    per_image = True
    by_content = True

    def __init__(self, name: str, params: ReaderParams, reader: Reader[ReaderParams]) -> None:
        super().__init__(name, params)
        self.kind, self.Params, self.reader = f"{KIND}.{reader.name}", reader.Params, reader

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

    def relists(self, recipe: str, store: Store) -> bool:
        """Whether the config asks for new images, or names another root than the one that was listed."""
        return self.params.rescan is not False or store.listed_root(self.name, recipe) != self.root

    def is_absent(self) -> bool:
        """Whether the data set is missing and the reader would make it."""
        return self.reader.is_absent()

    def provide(self) -> None:
        """Let the reader make the data set. Raises UsageError where it cannot."""
        self.reader.provide()

    def list_shards(self, recipe: str, store: Store, payloads: bool) -> list[Shard]:
        """Shards of at most `shard_size` images; rows that earlier runs planned stay in their shards."""
        folder = RecipeFolder(self.name, recipe)
        scan = with_reviewed(with_classes(self.reader.scan(), self.params.classes), self.params.reviewed)
        found = candidates(scan, self.params.dev_fraction)
        known = load_lists(store, folder)
        parts = assign(recipe, found.fingerprints, known, self.params.shard_size)
        contents = self._contents(store, folder, _Listed(found, parts), bool(known))
        understood, shards = Understood(self.reader.name, scan), []
        for rows, places in parts:
            part = found.at(places)
            understood.add(part)
            shards.append(self._shard(rows, part, contents, payloads))
        for line in understood.lines():
            _LOG.info("%s: %s", self.name, line)
        return shards

    def known_shards(self, recipe: str, store: Store) -> list[Shard] | None:
        """The shards of the newest listing."""
        return store.listing(self.name, recipe)

    def keep_listing(self, recipe: str, shards: Sequence[Shard], store: Store) -> None:
        """Save the row list of each shard, so that later runs plan the same shards, and then the listing."""
        folder = RecipeFolder(self.name, recipe)
        rows = [RowList.parse(str(s.args[LIST]), s.listed.column("fingerprint").to_pylist()) for s in shards]
        save_lists(store, folder, rows)
        store.keep_listing(self.name, recipe, shards, self.root)

    def worker(self, context: Context) -> Worker:
        """Opens images."""
        from stages.ingest.worker import IngestWorker

        return IngestWorker(self.name, self.params, self._turned, context)

    @property
    def _turned(self) -> bool:
        """Whether images are turned by their EXIF orientation."""
        return self.reader.displayed if self.params.orientation is None else self.params.orientation == "apply"

    def _shard(self, rows: RowList, part: Sequence[Candidate], contents: Contents, payload: bool) -> Shard:
        args: dict[str, Json] = {LIST: rows.key, ANNOTATIONS: annotations(part), BOXED: boxed(part)}
        stamps = [mask_stamp(mask, contents) for row in part for mask in masks_of(row)]
        return Shard(
            _key(rows, part, contents),
            args={**args, MASKS: fingerprint(stamps) if stamps else "", CONTENTS: contents_of(part, contents)},
            rows=len(part),
            labels=label_counts(part),
            payload=as_table(part, self.name) if payload else None,
        )

    def _contents(self, store: Store, folder: RecipeFolder, listed: _Listed, was_listed: bool) -> Contents:
        """Content hashes of replaced files; files are read only where their stamps cannot be trusted.

        That is with `rescan: content`, where the listing was lost, and where the root has moved: then three images of
        each shard are compared first, and all images only if one of these differs.
        """
        kept = store.listing(*folder)
        contents = {name: str(stamp) for shard in kept or () for name, stamp in _said(shard).items()}
        if self.params.rescan != "content" and (kept is not None or not was_listed):
            moved = kept is not None and store.listed_root(*folder) != self.root
            if not moved or not self._replaced(store, folder, listed, contents, few=True):
                return contents
        replaced = self._replaced(store, folder, listed, contents)
        return {**contents, **replaced, **replaced_masks(store, self.name, listed.found, self._read(store))}

    def _replaced(
        self, store: Store, folder: RecipeFolder, listed: _Listed, contents: Contents, few: bool = False
    ) -> dict[str, str]:
        """Image id -> ``stamp~sha256``, for replaced images of committed shards; few: compare only three per shard."""
        keys = [_key(rows, listed.found.at(places), contents) for rows, places in listed.parts]
        committed, replaced = store.done(*folder, keys), dict[str, str]()
        for key, (_, places) in zip(keys, listed.parts, strict=True):
            if key in committed:
                looked_at = listed.found.at(_three(places.tolist()) if few else places)
                replaced |= replaced_images(store, committed[key], looked_at, self._read(store))
        return replaced

    def _read(self, store: Store) -> Read:
        read = LocalContext(store, roots={self.name: self.root}).read_image
        return lambda place: read({**place, "uri": dataset_uri(self.name, place["uri"])})


def _key(rows: RowList, part: Sequence[Candidate], contents: Contents) -> str:
    return fingerprint([rows.key, *(stamp_of(row, contents) for row in part)])


def _three(places: Sequence[int]) -> list[int]:
    return [places[number] for number in sorted({0, len(places) // 2, len(places) - 1})]


def _said(shard: Shard) -> Mapping[str, Json]:
    said = shard.args.get(CONTENTS)
    return said if isinstance(said, Mapping) else {}
