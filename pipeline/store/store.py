"""The artifact store: one run root on any fsspec URI, in which the manifest is the truth.

A worker writes parts under names of its own, re-opens them, and commits by creating the shard's manifest unless it is
there: the first attempt wins, a loser's parts are garbage. Adding images makes a new set of shards and never edits one.
So two attempts of one shard, or two runs on one root, are harmless. Readers never list data folders. For the paths see
`pipeline.store.layout`.

What is read is checked: JSON against its own checksum, parts and blobs against the manifest. An object that fails its
check is read once more, as the storage may have erred, before it is reported as damaged.
"""

import dataclasses
import hashlib
import io
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.base.check_clock import CHECKS
from pipeline.base.errors import StageFailed
from pipeline.base.hashing import set_id
from pipeline.base.json_types import Json
from pipeline.base.phase_clock import IDLE, WRITE
from pipeline.store import layout
from pipeline.store.encoding import (
    read_listed_root,
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
from pipeline.store.paths import UnsafePathError
from pipeline.store.records import CompleteSet, Cost, Done, Recipe, Shard, ShardResult, StoredFile
from pipeline.store.sealed import seal, unseal
from schemas import TABLES, TableSpec, check_version, validate

T = TypeVar("T")

QUARANTINE = "quarantine"
"""The one table that every stage has; it has no part where it is empty."""


class DamagedError(StageFailed):
    """An object of a run root is missing, cut off or changed. path: of the object."""

    def __init__(self, path: str, words: str) -> None:
        super().__init__(f"{path} {words}; `weakbox verify --repair` shows what to do")
        self.path, self.words = path, words

    def __reduce__(self) -> tuple[type["DamagedError"], tuple[str, str]]:
        return (DamagedError, (self.path, self.words))


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
        cost: Cost | None = None,
    ) -> Done:
        """Write all of a result, then its manifest. Returns the winning manifest, maybe another attempt's.

        seconds: time that the result took; 0: the sum of the phases of `cost` without waiting, and of the writing here.

        Raises:
            SchemaError: a table does not follow its schema.
            StageFailed: rows in differ from rows out + quarantined.
            DamagedError: a part that the manifest is to name is not there.
        """
        started = time.perf_counter()
        tables = {**result.tables, QUARANTINE: TABLES[QUARANTINE].from_rows(result.quarantine)}
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
            if table.num_rows or name != QUARANTINE
        }
        blobs = {name: self._write(folder.blob(key, attempt, name), data) for name, data in result.blobs.items()}
        spent = cost or Cost()
        took = {**spent.phases, WRITE: time.perf_counter() - started}
        busy = seconds or sum(value for name, value in took.items() if name != IDLE)
        done = Done(stage, recipe, key, attempt, written, blobs, ok, quarantined, round(busy, 3))
        cpu, checking = round(spent.cpu, 4), round(spent.checking, 4)
        phases = {name: round(value, 4) for name, value in took.items()}
        done = dataclasses.replace(done, phases=phases, identity=result.identity, cpu=cpu, checking=checking)
        done = dataclasses.replace(done, labels=result.labels)
        return self._declare(done)

    def _declare(self, done: Done) -> Done:
        """Create the manifest of a shard whose files are written; returns the winning one. Raises DamagedError."""
        path = RecipeFolder(done.stage, done.recipe).manifest(done.key)
        self._check_presence(done)
        if self.files.put_if_absent(path, seal(write_manifest(done))):
            return done
        winner = self.done(done.stage, done.recipe, [done.key]).get(done.key)
        if winner is None:
            raise DamagedError(path, "was removed while this run wrote it")
        self._check_presence(winner)
        return winner

    def _check_presence(self, done: Done) -> None:
        """Raise DamagedError where a file of a shard is missing: `gc` may have taken it for garbage."""
        for entry in done.files:
            if not self.files.exists(entry.file):
                raise DamagedError(entry.file, "is missing")

    def done(self, stage: str, recipe: str, keys: Sequence[str]) -> dict[str, Done]:
        """The manifests of the complete shards of these: key -> Done; one read where the whole set is complete."""
        complete = self.complete_set(stage, recipe, set_id(keys))
        if complete is not None:
            return complete.dones
        folder = RecipeFolder(stage, recipe)
        found = self._read_many([folder.manifest(key) for key in keys], read_manifest)
        dones = [_sound(done) for done in found.values()]
        return {done.key: done for done in dones}

    def complete_set(self, stage: str, recipe: str, name: str) -> CompleteSet | None:
        """A complete set of shards, or None if that set is not complete. Raises DamagedError."""
        path = RecipeFolder(stage, recipe).complete_set(name)
        return self.read(path, partial(read_set, path))

    def newest(self, stage: str) -> tuple[str, str] | None:
        """(recipe, name) of the set that a run completed last for this stage, or None. Raises DamagedError."""
        return self.read(layout.newest(stage), read_newest)

    def newest_set(self, stage: str) -> CompleteSet | None:
        """The set that a run completed last for this stage, or None. Raises DamagedError."""
        newest = self.newest(stage)
        return None if newest is None else self.complete_set(stage, *newest)

    def commit_set(self, stage: str, recipe: str, shards: Sequence[Shard], done: Mapping[str, Done]) -> str:
        """Declare these shards a complete set, the stage's newest; returns its name."""
        name = set_id(shard.key for shard in shards)
        path = RecipeFolder(stage, recipe).complete_set(name)
        if self.newest(stage) == (recipe, name) and self.files.exists(path):
            return name
        self.files.put_if_absent(path, seal(write_set(shards, done)))
        self.write(layout.newest(stage), {"recipe": recipe, "set": name})
        return name

    def keep_recipe(self, stage: str, recipe: Recipe) -> None:
        """Keep what a recipe is made of, to explain later changes."""
        self.files.put_if_absent(RecipeFolder(stage, recipe.id).recipe_file, seal(recipe.ingredients()))

    def recipe(self, stage: str, recipe: str) -> Recipe | None:
        """What a recipe is made of; None where that was not kept. Raises DamagedError."""
        return self.read(RecipeFolder(stage, recipe).recipe_file, read_recipe)

    def keep_listing(self, stage: str, recipe: str, shards: Sequence[Shard], root: str) -> None:
        """Keep what planning needs of the shards of a listing, and where the data were; no-op if it is unchanged."""
        path, body = RecipeFolder(stage, recipe).listing, seal(write_listing(shards, root))
        if self.files.get_many([path]).get(path) != body:
            self.files.put(path, body)

    def listing(self, stage: str, recipe: str) -> list[Shard] | None:
        """The shards of the newest listing, without payloads; None where there was none. Raises DamagedError."""
        return self.read(RecipeFolder(stage, recipe).listing, read_listing)

    def listed_root(self, stage: str, recipe: str) -> str | None:
        """Where the data of the newest listing were; None where there was none. Raises DamagedError."""
        return self.read(RecipeFolder(stage, recipe).listing, read_listed_root)

    def table(
        self, done: Done, table: str, columns: Sequence[str] | None = None, filters: pc.Expression | None = None
    ) -> pa.Table:
        """One table of a committed result; an absent quarantine is an empty one.

        Raises:
            DamagedError: the part is missing or changed, or the shard has no such table.
            SchemaError: another or a newer schema.
        """
        spec = TABLES[table]
        entry = done.tables.get(table)
        if entry is None and table != QUARANTINE:
            raise DamagedError(_manifest(done), f"names no table {table}")
        if entry is None:
            empty = spec.empty()
            return empty.select(list(columns)) if columns else empty
        data = pa.BufferReader(self._checked(entry))
        parquet = pq.ParquetFile(data)
        check_version(parquet.schema_arrow, spec)
        names = None if columns is None else list(columns)
        if filters is None:
            return parquet.read(columns=names)
        return pq.read_table(data, columns=names, filters=filters)

    def blob(self, done: Done, name: str) -> bytes:
        """One blob of a committed result. Raises DamagedError if there is none, or its checksum differs."""
        if name not in done.blobs:
            raise DamagedError(_manifest(done), f"names no blob {name}")
        return self._checked(done.blobs[name])

    def read(self, path: str, decode: Callable[[Mapping[str, Json]], T]) -> T | None:
        """What a JSON object of the run root says, by `decode`; None where there is none.

        Raises: DamagedError, also where `decode` raises ValueError.
        """
        found: T | DamagedError | None = self._read_many([path], lambda _, said: decode(said)).get(path)
        return None if found is None else _sound(found)

    def write(self, path: str, content: Mapping[str, object]) -> None:
        """Write a JSON object, over the one before."""
        self.files.put(path, seal(content))

    def read_each(self, folder: str, decode: Callable[[str, Mapping[str, Json]], T]) -> dict[str, T | DamagedError]:
        """Every JSON object of a folder: name without `.json` -> what it says, or how it is damaged.

        Raises: DamagedError for a folder that is a link out of the run root.
        """
        try:
            names = self.files.names(folder)
        except UnsafePathError as error:
            raise DamagedError(folder, f"cannot be read ({error})") from error
        found = self._read_many([f"{folder}/{name}" for name in names], decode)
        return {path.rsplit("/", 1)[-1].removesuffix(".json"): said for path, said in found.items()}

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
        return self.read_each(RecipeFolder(stage, recipe).area(layout.MANIFESTS), read_manifest)

    def sets(self, stage: str, recipe: str) -> dict[str, CompleteSet | DamagedError]:
        """Every complete set of a recipe: name -> the set, or how it is damaged."""
        return self.read_each(RecipeFolder(stage, recipe).area(layout.SETS), read_set)

    def _read_many(
        self, paths: Sequence[str], decode: Callable[[str, Mapping[str, Json]], T]
    ) -> dict[str, T | DamagedError]:
        """The JSON objects that exist: path -> what it says, or how it is damaged; damaged ones are read twice."""
        found = {path: _decoded(path, data, decode) for path, data in self._fetch(paths).items()}
        damaged = [path for path, said in found.items() if isinstance(said, DamagedError)]
        again = self._fetch(damaged)
        return {**found, **{path: _decoded(path, data, decode) for path, data in again.items()}}

    def _fetch(self, paths: Sequence[str]) -> dict[str, bytes | DamagedError]:
        """The bytes of the objects that exist; a DamagedError for what is no file, or is a link out of the root."""
        try:
            return dict(self.files.get_many(paths))
        except (UnsafePathError, NotADirectoryError) as error:
            if len(paths) == 1:
                said = error.strerror if isinstance(error, OSError) else error
                return {paths[0]: DamagedError(paths[0], f"cannot be read ({said})")}
        return {path: data for each in paths for path, data in self._fetch([each]).items()}

    def _checked(self, entry: StoredFile) -> bytes:
        """The bytes of a part or a blob. Raises DamagedError where they are gone, or not those of the manifest."""
        for _ in range(2):
            data = self._fetch([entry.file]).get(entry.file)
            if data is None:
                raise DamagedError(entry.file, "is missing")
            if isinstance(data, DamagedError):
                raise data
            with CHECKS.timed():
                if hashlib.sha256(data).hexdigest() == entry.sha256:
                    return data
        raise DamagedError(entry.file, "differs from its manifest")

    def _write_table(self, path: str, table: pa.Table, spec: TableSpec) -> StoredFile:
        buffer = io.BytesIO()
        pq.write_table(spec.arranged(table), buffer, compression="zstd")
        entry = self._write(path, buffer.getvalue())
        with self.files.open(path) as file:
            rows = pq.ParquetFile(file).metadata.num_rows
        if rows != table.num_rows:
            raise DamagedError(path, f"gave {rows} rows back of {table.num_rows} written")
        return dataclasses.replace(entry, rows=rows, schema=spec.version)

    def _write(self, path: str, data: bytes) -> StoredFile:
        self.files.put(path, data)
        return StoredFile(path, len(data), hashlib.sha256(data).hexdigest())


def _decoded(path: str, data: bytes | DamagedError, decode: Callable[[str, Mapping[str, Json]], T]) -> T | DamagedError:
    if isinstance(data, DamagedError):
        return data
    try:
        return decode(path, unseal(data))
    except ValueError as error:
        return DamagedError(path, f"is damaged ({' '.join(str(error).split())[:200]})")


def _manifest(done: Done) -> str:
    return RecipeFolder(done.stage, done.recipe).manifest(done.key)


def _sound(found: T | DamagedError) -> T:
    """The object itself; raises it if it is a DamagedError."""
    if isinstance(found, DamagedError):
        raise found
    return found


def _names_any(found: CompleteSet | DamagedError, keys: set[str]) -> bool:
    """Whether a set names one of these shards; a damaged one might."""
    return isinstance(found, DamagedError) or not keys.isdisjoint(found.dones)
