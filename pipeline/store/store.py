"""The artifact store: one run root on any fsspec URI, in which the manifest is the truth.

A worker writes parts under names of its own, re-opens them, and commits by creating the shard's manifest unless it is
there: the first attempt wins, a loser's parts are garbage. Adding images makes a new set of shards and never edits one.
So two attempts of one shard, or two runs on one root, are harmless. Readers never list data folders. Where everything
lies says `pipeline.store.layout`.
"""

import dataclasses
import hashlib
import io
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.base.errors import StageFailed
from pipeline.base.hashing import set_id
from pipeline.base.phase_clock import IDLE, WRITE
from pipeline.store import layout
from pipeline.store.encoding import (
    read_listing,
    read_manifest,
    read_newest,
    read_recipe,
    read_set,
    write_listing,
    write_manifest,
    write_set,
)
from pipeline.store.files import Files
from pipeline.store.layout import RecipeFolder
from pipeline.store.records import CompleteSet, Done, Recipe, Shard, ShardResult, StoredFile
from schemas import TABLES, TableSpec, check_version, validate

T = TypeVar("T")


class DamagedError(StageFailed):
    """A committed file is missing or differs from its manifest."""


class Store:
    """Reads and commits the results of shards below one run root. Cheap to pickle: only the root travels."""

    def __init__(self, root: str) -> None:
        self.files = Files(root)

    def __reduce__(self) -> tuple[type["Store"], tuple[str]]:
        return (Store, (self.files.root,))

    def commit(
        self,
        stage: str,
        recipe: str,
        key: str,
        result: ShardResult,
        *,
        rows_in: int | None = None,
        seconds: float = 0.0,
        phases: Mapping[str, float] | None = None,
    ) -> Done:
        """Write all of a result, then its manifest. Returns the winning manifest, maybe another attempt's.

        phases: seconds by phase of what was computed (pipeline.base.phase_clock); writing is added here.

        Raises:
            SchemaError: a table does not follow its schema.
            StageFailed: rows in differ from rows out + quarantined.
        """
        started = time.perf_counter()
        tables = {**result.tables, "quarantine": TABLES["quarantine"].from_rows(result.quarantine)}
        for name, table in tables.items():
            validate(table, TABLES[name])
        ok = next(iter(result.tables.values())).num_rows if result.tables else 0
        quarantined = len(result.quarantine)
        if rows_in is not None and ok + quarantined != rows_in:
            raise StageFailed(f"{stage}: shard {key}: {rows_in} rows in, {ok} out and {quarantined} quarantined")
        folder, attempt = RecipeFolder(stage, recipe), uuid.uuid4().hex[:8]
        written = {
            name: self._write_table(folder.part(key, attempt, name), table, TABLES[name])
            for name, table in tables.items()
            if table.num_rows or name != "quarantine"
        }
        blobs = {name: self._write(folder.blob(key, attempt, name), data) for name, data in result.blobs.items()}
        took = {**(phases or {}), WRITE: time.perf_counter() - started}
        busy = seconds or sum(value for name, value in took.items() if name != IDLE)
        rounded = {name: round(value, 4) for name, value in took.items()}
        done = Done(stage, recipe, key, attempt, written, blobs, ok, quarantined, round(busy, 3), rounded)
        if self.files.put_if_absent(folder.manifest(key), write_manifest(done)):
            return done
        return self.done(stage, recipe, [key])[key]

    def done(self, stage: str, recipe: str, keys: Sequence[str]) -> dict[str, Done]:
        """The manifests of those shards that are complete: key -> Done. One object read where the whole set is."""
        complete = self.complete_set(stage, recipe, set_id(keys))
        if complete is not None:
            return complete.dones
        folder = RecipeFolder(stage, recipe)
        found = self.files.get_many([folder.manifest(key) for key in keys])
        return {done.key: done for done in (self._manifest(path, data) for path, data in found.items())}

    def complete_set(self, stage: str, recipe: str, name: str) -> CompleteSet | None:
        """A complete set of shards, or None if that set is not complete. Raises DamagedError."""
        path = RecipeFolder(stage, recipe).complete_set(name)
        data = self._optional(path)
        return None if data is None else self._set(path, data)

    def newest(self, stage: str) -> tuple[str, str] | None:
        """(recipe, name) of the set that a run completed last for this stage, or None. Raises DamagedError."""
        return self._kept(layout.newest(stage), read_newest)

    def newest_set(self, stage: str) -> CompleteSet | None:
        """The set that a run completed last for this stage, or None. Raises DamagedError."""
        newest = self.newest(stage)
        return None if newest is None else self.complete_set(stage, *newest)

    def commit_set(self, stage: str, recipe: str, shards: Sequence[Shard], done: Mapping[str, Done]) -> str:
        """Declare these shards a complete set, the stage's newest; returns its name."""
        name = set_id(shard.key for shard in shards)
        path = RecipeFolder(stage, recipe).complete_set(name)
        newest = json.dumps({"recipe": recipe, "set": name}).encode()
        if self._optional(layout.newest(stage)) == newest and self.files.exists(path):
            return name
        self.files.put_if_absent(path, write_set(shards, done))
        self.files.put(layout.newest(stage), newest)
        return name

    def keep_recipe(self, stage: str, recipe: Recipe) -> None:
        """Keep what a recipe is made of, to explain later changes."""
        body = json.dumps(recipe.ingredients()).encode()
        self.files.put_if_absent(RecipeFolder(stage, recipe.id).recipe_file, body)

    def recipe(self, stage: str, recipe: str) -> Recipe | None:
        """What a recipe is made of; None where that was not kept. Raises DamagedError."""
        return self._kept(RecipeFolder(stage, recipe).recipe_file, read_recipe)

    def keep_listing(self, stage: str, recipe: str, shards: Sequence[Shard]) -> None:
        """Keep what planning needs of the shards of a listing, where it is not kept already."""
        path, body = RecipeFolder(stage, recipe).listing, write_listing(shards)
        if self._optional(path) != body:
            self.files.put(path, body)

    def listing(self, stage: str, recipe: str) -> list[Shard] | None:
        """The shards of the newest listing, without payloads; None where there was none. Raises DamagedError."""
        return self._kept(RecipeFolder(stage, recipe).listing, read_listing)

    def table(
        self, done: Done, table: str, columns: Sequence[str] | None = None, filters: pc.Expression | None = None
    ) -> pa.Table:
        """One table of a committed result; an absent quarantine is an empty one.

        Raises:
            DamagedError: the part is missing. SchemaError: another or a newer schema.
        """
        spec = TABLES[table]
        entry = done.tables.get(table)
        if entry is None:
            empty = spec.empty()
            return empty.select(list(columns)) if columns else empty
        try:
            with self.files.open(entry.file) as file:
                parquet = pq.ParquetFile(file)
                check_version(parquet.schema_arrow, spec)
                names = None if columns is None else list(columns)
                if filters is None:
                    return parquet.read(columns=names)
                return pq.read_table(file, columns=names, filters=filters)
        except FileNotFoundError as error:
            raise _missing(done, entry) from error

    def blob(self, done: Done, name: str) -> bytes:
        """One blob of a committed result. Raises DamagedError if it is missing or its checksum differs."""
        entry = done.blobs[name]
        try:
            data = self.files.get(entry.file)
        except FileNotFoundError as error:
            raise _missing(done, entry) from error
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise DamagedError(f"{done.stage}: blob {entry.file} differs from its manifest")
        return data

    def forget(self, stage: str, recipe: str, keys: Sequence[str]) -> None:
        """Remove manifests and training checkpoints of these shards, so that they are computed again (`--force`).

        Every set that names one of them goes first: a set without its manifests would still say that they are done.
        Parts become garbage.
        """
        folder = RecipeFolder(stage, recipe)
        sets = [name for name, found in self.sets(stage, recipe).items() if _names_any(found, set(keys))]
        if self.newest(stage) in [(recipe, name) for name in sets]:
            self.files.remove(layout.newest(stage))
        for name in sets:
            self.files.remove(folder.complete_set(name))
        for key in set(self.files.names(folder.area(layout.TRAININGS))) & set(keys):
            self.files.remove_folder(folder.training(key))
        for key in keys:
            self.files.remove(folder.manifest(key))

    def manifests(self, stage: str, recipe: str) -> dict[str, Done | DamagedError]:
        """Every manifest of a recipe, of a complete set or not: key -> manifest, or how it is damaged."""
        return self._each(RecipeFolder(stage, recipe).area(layout.MANIFESTS), self._manifest)

    def sets(self, stage: str, recipe: str) -> dict[str, CompleteSet | DamagedError]:
        """Every complete set of a recipe: name -> the set, or how it is damaged."""
        return self._each(RecipeFolder(stage, recipe).area(layout.SETS), self._set)

    def _manifest(self, path: str, data: bytes) -> Done:
        with damage_in_one_line(path, "it, and the sets of its recipe"):
            return read_manifest(path, data)

    def _set(self, path: str, data: bytes) -> CompleteSet:
        with damage_in_one_line(path):
            return read_set(path, data)

    def _optional(self, path: str) -> bytes | None:
        """An object, or None where there is none."""
        try:
            return self.files.get(path)
        except FileNotFoundError:
            return None

    def _kept(self, path: str, read: Callable[[bytes], T]) -> T | None:
        """What a small JSON object says; None where there is none. Raises DamagedError."""
        data = self._optional(path)
        if data is None:
            return None
        with damage_in_one_line(path):
            return read(data)

    def _each(self, folder: str, read: Callable[[str, bytes], T]) -> dict[str, T | DamagedError]:
        found: dict[str, T | DamagedError] = {}
        for path, data in self.files.get_many([f"{folder}/{name}" for name in self.files.names(folder)]).items():
            name = path.rsplit("/", 1)[-1].removesuffix(".json")
            try:
                found[name] = read(path, data)
            except DamagedError as error:
                found[name] = error
        return found

    def _write_table(self, path: str, table: pa.Table, spec: TableSpec) -> StoredFile:
        buffer = io.BytesIO()
        pq.write_table(table.select(spec.schema.names).cast(spec.schema), buffer, compression="zstd")
        entry = self._write(path, buffer.getvalue())
        with self.files.open(path) as file:
            rows = pq.ParquetFile(file).metadata.num_rows
        if rows != table.num_rows:
            raise DamagedError(f"{path}: {rows} rows came back of {table.num_rows} written")
        return dataclasses.replace(entry, rows=rows, schema=spec.version)

    def _write(self, path: str, data: bytes) -> StoredFile:
        self.files.put(path, data)
        return StoredFile(path, len(data), hashlib.sha256(data).hexdigest())


@contextmanager
def damage_in_one_line(path: str, remedy: str = "it") -> Iterator[None]:
    """What is wrong with a small JSON object, in one line that names it and says what to remove."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = " ".join(str(error).split())
        raise DamagedError(f"{path} is damaged ({said}); remove {remedy}, and the next run makes that again") from error


def _names_any(found: CompleteSet | DamagedError, keys: set[str]) -> bool:
    """Whether a set names one of these shards; a damaged one might."""
    return isinstance(found, DamagedError) or not keys.isdisjoint(found.dones)


def _missing(done: Done, entry: StoredFile) -> DamagedError:
    return DamagedError(f"{done.stage}: {entry.file} is missing; --force {done.stage} remakes it")
