"""The small JSON objects of the store: manifests, sets, recipes, pointers, as JSON-like data and back.

Every reader raises ValueError for an object that describes something else than its path, holds values of other types,
or names files outside of its recipe's folder: it may be someone else's.
"""

from collections.abc import Mapping, Sequence

from pipeline.base.hashing import set_id
from pipeline.base.json_types import Json
from pipeline.store import layout
from pipeline.store.layout import RecipeFolder
from pipeline.store.records import CompleteSet, Done, Entry, LabelCounts, Recipe, Shard, ShardRef, StoredFile
from pipeline.store.sealed import value_of


def write_manifest(done: Done) -> dict[str, Json]:
    """The manifest of a shard. A file says only what it has: blobs have no rows."""
    tables = {name: _file(entry) for name, entry in done.tables.items()}
    blobs = {name: _file(entry) for name, entry in done.blobs.items()}
    return {**vars(done), "tables": tables, "blobs": blobs}


def read_manifest(path: str, said: Mapping[str, Json]) -> Done:
    """The shard that the manifest at `path` describes."""
    done = _done(said)
    if RecipeFolder(done.stage, done.recipe).manifest(done.key) != path:
        raise ValueError(f"it describes shard {done.key} of {done.stage}/{done.recipe}")
    return done


def write_set(shards: Sequence[Shard], done: Mapping[str, Done]) -> dict[str, Json]:
    """A complete set: of each shard its manifest, and what downstream stages see of it."""
    return {"shards": [{"done": write_manifest(done[shard.key]), **_planned(shard)} for shard in shards]}


def read_set(path: str, said: Mapping[str, Json]) -> CompleteSet:
    """The complete set at `path`."""
    entries = [_entry(entry) for entry in _objects(said, "shards")]
    (stage, recipe), name = layout.owner(path)
    for done, _ in entries:
        if (done.stage, done.recipe) != (stage, recipe):
            raise ValueError(f"it describes shard {done.key} of {done.stage}/{done.recipe}")
    if set_id(done.key for done, _ in entries) != name:
        raise ValueError("its shards are not those of its name")
    return CompleteSet(stage, recipe, name, entries)


def write_listing(shards: Sequence[Shard]) -> dict[str, Json]:
    """What planning needs of the shards of a listing."""
    return {"shards": [{"key": shard.key, **_planned(shard)} for shard in shards]}


def read_listing(said: Mapping[str, Json]) -> list[Shard]:
    """The shards of a listing, without payloads."""
    return [_shard(entry, value_of(entry, "key", str)) for entry in _objects(said, "shards")]


def read_newest(said: Mapping[str, Json]) -> tuple[str, str]:
    """Recipe and name of a stage's newest set."""
    return value_of(said, "recipe", str), value_of(said, "set", str)


def read_recipe(said: Mapping[str, Json]) -> Recipe:
    """What a recipe is made of."""
    return Recipe.of(said)


def _file(entry: StoredFile) -> dict[str, Json]:
    return {field: value for field, value in vars(entry).items() if value is not None}


def _planned(shard: Shard) -> dict[str, Json]:
    """What downstream stages see of a shard. Its arguments are theirs to read where a source gave them."""
    inputs = {
        slot: [[ref.stage, ref.recipe, ref.key, ref.identity] for ref in refs] for slot, refs in shard.inputs.items()
    }
    return {"rows": shard.rows, "labels": shard.labels, "inputs": inputs, "args": shard.args}


def _entry(said: Mapping[str, Json]) -> Entry:
    done = _done(value_of(said, "done", dict))
    return Entry(done, _shard(said, done.key, done.identity))


def _done(said: Mapping[str, Json]) -> Done:
    stage, recipe, key, attempt = (value_of(said, name, str) for name in ("stage", "recipe", "key", "attempt"))
    folder, phases = RecipeFolder(stage, recipe), value_of(said, "phases", dict)
    tables = {name: _stored(entry, folder.part(key, attempt, name)) for name, entry in _files(said, "tables")}
    blobs = {name: _stored(entry, folder.blob(key, attempt, name)) for name, entry in _files(said, "blobs")}
    if any(entry.rows is None for entry in tables.values()):
        raise ValueError("a table without rows")
    return Done(
        stage,
        recipe,
        key,
        attempt,
        tables,
        blobs,
        ok=value_of(said, "ok", int),
        quarantined=value_of(said, "quarantined", int),
        seconds=value_of(said, "seconds", float),
        phases={name: value_of(phases, name, float) for name in phases},
        identity=value_of(said, "identity", str),
        cpu=value_of(said, "cpu", float),
        checking=value_of(said, "checking", float),
    )


def _files(said: Mapping[str, Json], kind: str) -> list[tuple[str, dict[str, Json]]]:
    files = value_of(said, kind, dict)
    return [(name, value_of(files, name, dict)) for name in files]


def _stored(said: dict[str, Json], path: str) -> StoredFile:
    """A file of a shard, which must lie where the layout puts it."""
    if said.get("file") != path:
        raise ValueError(f"it names {said.get('file')!r}, where {path} was expected")
    counts = {name: value_of(said, name, int) for name in ("rows", "schema") if name in said}
    return StoredFile(path, value_of(said, "bytes", int), value_of(said, "sha256", str), **counts)


def _shard(said: Mapping[str, Json], key: str, identity: str = "") -> Shard:
    rows, labels = said.get("rows"), value_of(said, "labels", dict)
    inputs = value_of(said, "inputs", dict)
    if rows is not None:
        rows = value_of(said, "rows", int)
    refs = {slot: tuple(map(_ref, value_of(inputs, slot, list))) for slot in inputs}
    return Shard(key, refs, value_of(said, "args", dict), rows, labels=_counts(labels), identity=identity)


def _ref(said: Json) -> ShardRef:
    if not isinstance(said, list) or len(said) != 4:
        raise ValueError("a shard is named by stage, recipe, key and identity")
    stage, recipe, key, identity = (str(part) for part in said)
    return ShardRef(stage, recipe, key, identity)


def _counts(said: dict[str, Json]) -> LabelCounts:
    return {split: {name: value_of(own, name, int) for name in own} for split, own in _each(said)}


def _each(said: dict[str, Json]) -> list[tuple[str, dict[str, Json]]]:
    return [(name, value_of(said, name, dict)) for name in said]


def _objects(said: Mapping[str, Json], name: str) -> list[dict[str, Json]]:
    found = value_of(said, name, list)
    objects = [entry for entry in found if isinstance(entry, dict)]
    if len(objects) != len(found):
        raise ValueError(f"{name} holds something else than objects")
    return objects
