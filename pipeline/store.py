"""The artifact store: one run root on any fsspec URI, in which the manifest is the truth.

    <root>/<stage>/<recipe>/parts/<key>-<attempt>.<table>.parquet    tables; garbage until a manifest names them
    <root>/<stage>/<recipe>/blobs/<key>-<attempt>/<name>             models, reports
    <root>/<stage>/<recipe>/done/<key>.json                          the manifest: the shard is complete
    <root>/<stage>/<recipe>/sets/<id>.json                           all manifests of a complete set of shards

A worker writes parts under names of its own, re-opens them, and commits through `put_if_absent(done/<key>.json)`: the
first attempt wins, a loser's parts are garbage. Adding images makes a new set and never edits one. So two attempts of
one shard, or two runs on one root, are harmless. Readers never list data folders.
"""

import dataclasses
import hashlib
import io
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.clock import IDLE, WRITE
from pipeline.errors import StageFailed
from pipeline.files import Files
from pipeline.hashing import set_id
from pipeline.stage import Done, Shard, ShardRef, ShardResult
from schemas import TABLES, TableSpec, check_version, validate

T = TypeVar("T")

Entries = list[tuple[Done, Shard]]
"""A complete set: each shard's manifest, and the shard as those below see it."""


class DamagedError(StageFailed):
    """A committed file is missing or differs from its manifest."""


class Store:
    """Reads and commits the results of shards below one run root. Cheap to pickle: only the root travels."""

    def __init__(self, root: str) -> None:
        self.files = Files(root)

    def __reduce__(self) -> tuple[Any, ...]:
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

        phases: seconds by phase of what was computed (pipeline.clock); writing is added here.

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
        attempt = uuid.uuid4().hex[:8]
        base = f"{stage}/{recipe}"
        written = {
            name: self._write_table(f"{base}/parts/{key}-{attempt}.{name}.parquet", table, TABLES[name])
            for name, table in tables.items()
            if table.num_rows or name != "quarantine"
        }
        blobs = {name: self._write(f"{base}/blobs/{key}-{attempt}/{name}", data) for name, data in result.blobs.items()}
        took = {**(phases or {}), WRITE: time.perf_counter() - started}
        busy = seconds or sum(value for name, value in took.items() if name != IDLE)
        done = Done(
            stage=stage,
            recipe=recipe,
            key=key,
            attempt=attempt,
            tables=written,
            blobs=blobs,
            ok=ok,
            quarantined=quarantined,
            seconds=round(busy, 3),
            phases={name: round(value, 4) for name, value in took.items()},
        )
        if self.files.put_if_absent(_done_path(stage, recipe, key), _encode(done)):
            return done
        return self.done(stage, recipe, [key])[key]

    def done(self, stage: str, recipe: str, keys: Sequence[str]) -> dict[str, Done]:
        """The manifests of those shards that are complete: key -> Done. One object read where the whole set is."""
        complete = self.complete_set(stage, recipe, set_id(keys))
        if complete is not None:
            return complete
        found = self.files.get_many([_done_path(stage, recipe, key) for key in keys])
        return {done.key: done for done in (read_manifest(path, data) for path, data in found.items())}

    def complete_set(self, stage: str, recipe: str, set_name: str) -> dict[str, Done] | None:
        """All manifests of a complete set, or None if that set is not complete. Raises DamagedError."""
        entries = self._set(stage, recipe, set_name)
        return None if entries is None else {done.key: done for done, _ in entries}

    def set_shards(self, stage: str, recipe: str, set_name: str) -> list[Shard]:
        """The shards of a complete set as those below see them, in plan order; [] where the set is not complete."""
        return [shard for _, shard in self._set(stage, recipe, set_name) or []]

    def commit_set(self, stage: str, recipe: str, shards: Sequence[Shard], done: Mapping[str, Done]) -> str:
        """Declare these shards a complete set, the stage's newest; returns its id."""
        name = set_id(shard.key for shard in shards)
        path = _set_path(stage, recipe, name)
        newest = json.dumps({"recipe": recipe, "set": name}).encode()
        if self._newest(stage) == newest and self.files.exists(path):
            return name
        entries = [
            {
                "done": dataclasses.asdict(done[shard.key]),
                "rows": shard.rows,
                "labels": shard.labels,
                "inputs": {slot: [dataclasses.astuple(ref) for ref in refs] for slot, refs in shard.inputs.items()},
            }
            for shard in shards
        ]
        self.files.put_if_absent(path, json.dumps({"shards": entries}).encode())
        self.files.put(f"{stage}/newest.json", newest)
        return name

    def _set(self, stage: str, recipe: str, set_name: str) -> Entries | None:
        path = _set_path(stage, recipe, set_name)
        try:
            return read_set(path, self.files.get(path))
        except FileNotFoundError:
            return None

    def newest(self, stage: str) -> tuple[str, str] | None:
        """(recipe, set id) that a run completed last for this stage, or None. Raises DamagedError."""
        data = self._newest(stage)
        if data is None:
            return None
        with _one_line(f"{stage}/newest.json"):
            said = json.loads(data)
            return str(said["recipe"]), str(said["set"])

    def _newest(self, stage: str) -> bytes | None:
        try:
            return self.files.get(f"{stage}/newest.json")
        except FileNotFoundError:
            return None

    def table(self, done: Done, table: str, columns: Sequence[str] | None = None, filters: Any = None) -> pa.Table:
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
            with self.files.open(entry["file"]) as file:
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
            data = self.files.get(entry["file"])
        except FileNotFoundError as error:
            raise _missing(done, entry) from error
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise DamagedError(f"{done.stage}: blob {entry['file']} differs from its manifest")
        return data

    def forget(self, stage: str, recipe: str, keys: Sequence[str]) -> None:
        """Remove manifests and training checkpoints of these shards, so that they are computed again (`--force`).

        Every set that names one of them goes first: a set without its manifests would still say that they are done.
        Parts become garbage.
        """
        sets = [name for name, entries in self.sets(stage, recipe).items() if _names_any(entries, set(keys))]
        if self.newest(stage) in [(recipe, name) for name in sets]:
            self.files.remove(f"{stage}/newest.json")
        for name in sets:
            self.files.remove(_set_path(stage, recipe, name))
        trainings = f"{stage}/{recipe}/train"
        for key in set(self.files.names(trainings)) & set(keys):
            self.files.remove_folder(f"{trainings}/{key}")
        for key in keys:
            self.files.remove(_done_path(stage, recipe, key))

    def manifests(self, stage: str, recipe: str) -> dict[str, Done | DamagedError]:
        """Every manifest of a recipe, of a complete set or not: key -> manifest, or how it is damaged."""
        return self._each(f"{stage}/{recipe}/done", read_manifest)

    def sets(self, stage: str, recipe: str) -> dict[str, Entries | DamagedError]:
        """Every complete set of a recipe: id -> its entries, or how it is damaged."""
        return self._each(f"{stage}/{recipe}/sets", read_set)

    def _each(self, folder: str, read: Callable[[str, bytes], T]) -> dict[str, T | DamagedError]:
        found: dict[str, T | DamagedError] = {}
        for path, data in self.files.get_many([f"{folder}/{name}" for name in self.files.names(folder)]).items():
            name = path.rsplit("/", 1)[-1].removesuffix(".json")
            try:
                found[name] = read(path, data)
            except DamagedError as error:
                found[name] = error
        return found

    def _write_table(self, path: str, table: pa.Table, spec: TableSpec) -> dict[str, Any]:
        buffer = io.BytesIO()
        pq.write_table(table.select(spec.schema.names).cast(spec.schema), buffer, compression="zstd")
        entry = self._write(path, buffer.getvalue())
        with self.files.open(path) as file:
            rows = pq.ParquetFile(file).metadata.num_rows
        if rows != table.num_rows:
            raise DamagedError(f"{path}: {rows} rows came back of {table.num_rows} written")
        return {**entry, "rows": rows, "schema": spec.version}

    def _write(self, path: str, data: bytes) -> dict[str, Any]:
        self.files.put(path, data)
        return {"file": path, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def read_manifest(path: str, data: bytes) -> Done:
    """The manifest in an object. Raises DamagedError: cut off, of another shard, or of files elsewhere."""
    with _one_line(path, "it, and the sets of its recipe"):
        return _sound(Done(**json.loads(data)), path)


def read_set(path: str, data: bytes) -> Entries:
    """The manifests of a complete set and its shards as those below see them. Raises DamagedError."""
    with _one_line(path):
        entries = [(Done(**entry["done"]), _shard(entry)) for entry in json.loads(data)["shards"]]
        stage, recipe, _, name = path.rsplit("/", 3)
        for done, _ in entries:
            _sound(done, _done_path(stage, recipe, done.key))
        if set_id(done.key for done, _ in entries) != name.removesuffix(".json"):
            raise ValueError("its shards are not those of its name")
        return entries


def _shard(entry: Mapping[str, Any]) -> Shard:
    """A shard as those below see it. Sets of older versions do not say what their shards read."""
    inputs = {slot: tuple(ShardRef(*ref) for ref in refs) for slot, refs in entry.get("inputs", {}).items()}
    return Shard(entry["done"]["key"], inputs=inputs, rows=entry["rows"], labels=entry["labels"])


def _sound(done: Done, path: str) -> Done:
    """The manifest, if it belongs to its path and describes files of its recipe. Raises ValueError."""
    if _done_path(done.stage, done.recipe, done.key) != path:
        raise ValueError(f"it describes shard {done.key} of {done.stage}/{done.recipe}")
    for entry in (*done.tables.values(), *done.blobs.values()):
        if missing := {"file", "bytes", "sha256"} - entry.keys():
            raise ValueError(f"a file without {min(missing)}")
        if not entry["file"].startswith(f"{done.stage}/{done.recipe}/"):
            raise ValueError(f"it names {entry['file']}")
    if not all("rows" in entry for entry in done.tables.values()):
        raise ValueError("a table without rows")
    return done


@contextmanager
def _one_line(path: str, remedy: str = "it") -> Iterator[None]:
    """What is wrong with a small JSON object, in one line that names it and says what to remove."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = " ".join(str(error).split())
        raise DamagedError(f"{path} is damaged ({said}); remove {remedy}, and the next run makes that again") from error


def _names_any(entries: Entries | DamagedError, keys: set[str]) -> bool:
    """Whether a set names one of these shards; a damaged one might."""
    return isinstance(entries, DamagedError) or any(done.key in keys for done, _ in entries)


def _missing(done: Done, entry: Mapping[str, Any]) -> DamagedError:
    return DamagedError(f"{done.stage}: {entry['file']} is missing; --force {done.stage} remakes it")


def _done_path(stage: str, recipe: str, key: str) -> str:
    return f"{stage}/{recipe}/done/{key}.json"


def _set_path(stage: str, recipe: str, set_name: str) -> str:
    return f"{stage}/{recipe}/sets/{set_name}.json"


def _encode(done: Done) -> bytes:
    return json.dumps(dataclasses.asdict(done)).encode()
