"""The small JSON objects of the store: manifests, sets, recipes, pointers, as bytes and back.

Every reader raises ValueError, KeyError, TypeError or AttributeError for an object that is cut off, describes something
else than its path, or names files outside of its recipe's folder.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.base.hashing import set_id
from pipeline.store import layout
from pipeline.store.layout import RecipeFolder
from pipeline.store.records import CompleteSet, Done, Entry, Recipe, Shard, ShardRef, StoredFile


def write_manifest(done: Done) -> bytes:
    """The manifest of a shard."""
    return json.dumps(_manifest(done)).encode()


def read_manifest(path: str, data: bytes) -> Done:
    """The shard that the manifest at `path` describes."""
    done = _done(json.loads(data))
    if RecipeFolder(done.stage, done.recipe).manifest(done.key) != path:
        raise ValueError(f"it describes shard {done.key} of {done.stage}/{done.recipe}")
    return done


def write_set(shards: Sequence[Shard], done: Mapping[str, Done]) -> bytes:
    """A complete set: of each shard its manifest, and what downstream stages see of it."""
    entries = [
        {
            "done": _manifest(done[shard.key]),
            "rows": shard.rows,
            "labels": shard.labels,
            "inputs": {slot: [dataclasses.astuple(ref) for ref in refs] for slot, refs in shard.inputs.items()},
        }
        for shard in shards
    ]
    return json.dumps({"shards": entries}).encode()


def read_set(path: str, data: bytes) -> CompleteSet:
    """The complete set at `path`."""
    entries = [Entry(_done(entry["done"]), _shard(entry)) for entry in json.loads(data)["shards"]]
    (stage, recipe), name = layout.owner(path)
    for done, _ in entries:
        if (done.stage, done.recipe) != (stage, recipe):
            raise ValueError(f"it describes shard {done.key} of {done.stage}/{done.recipe}")
    if set_id(done.key for done, _ in entries) != name:
        raise ValueError("its shards are not those of its name")
    return CompleteSet(stage, recipe, name, entries)


def write_listing(shards: Sequence[Shard]) -> bytes:
    """What planning needs of the shards of a listing."""
    entries = [{"key": shard.key, "rows": shard.rows, "labels": shard.labels} for shard in shards]
    return json.dumps({"shards": entries}).encode()


def read_listing(data: bytes) -> list[Shard]:
    """The shards of a listing, without payloads."""
    return [
        Shard(str(entry["key"]), rows=entry["rows"], labels=entry["labels"]) for entry in json.loads(data)["shards"]
    ]


def read_recipe(data: bytes) -> Recipe:
    """What a recipe is made of."""
    return Recipe.of(json.loads(data))


def read_newest(data: bytes) -> tuple[str, str]:
    """Recipe and name of a stage's newest set."""
    said = json.loads(data)
    return str(said["recipe"]), str(said["set"])


def _manifest(done: Done) -> dict[str, object]:
    """What JSON says of a shard. A file says only what it has: blobs have no rows."""
    files = {
        name: {key: {field: value for field, value in vars(entry).items() if value is not None} for key, entry in own}
        for name, own in (("tables", done.tables.items()), ("blobs", done.blobs.items()))
    }
    return {**vars(done), **files}


def _done(said: Mapping[str, Any]) -> Done:
    tables = {name: StoredFile(**entry) for name, entry in said["tables"].items()}
    blobs = {name: StoredFile(**entry) for name, entry in said["blobs"].items()}
    done = Done(**{**said, "tables": tables, "blobs": blobs})
    for entry in done.files:
        if not entry.file.startswith(f"{done.stage}/{done.recipe}/"):
            raise ValueError(f"it names {entry.file}")
    if any(entry.rows is None for entry in done.tables.values()):
        raise ValueError("a table without rows")
    return done


def _shard(entry: Mapping[str, Any]) -> Shard:
    inputs = {slot: tuple(ShardRef(*ref) for ref in refs) for slot, refs in entry["inputs"].items()}
    return Shard(entry["done"]["key"], inputs=inputs, rows=entry["rows"], labels=entry["labels"])
