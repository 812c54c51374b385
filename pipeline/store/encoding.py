"""The small JSON objects of the store: manifests, sets, recipes, pointers, as JSON-like data and back.

Every reader raises ValueError for an object that does not belong at its path, or holds values of wrong types, negative
counts or invalid file names: the run root may be someone else's.
"""

import math
import re
from collections.abc import Mapping, Sequence

from pipeline.base.hashing import DIGITS, set_id
from pipeline.base.json_types import Json
from pipeline.store import layout
from pipeline.store.layout import RecipeFolder, row_list_key
from pipeline.store.paths import check_below, check_name
from pipeline.store.records import CompleteSet, Done, Entry, LabelCounts, Recipe, Shard, ShardRef, StoredFile
from pipeline.store.sealed import value_of

_FINGERPRINT = re.compile(rf"[0-9a-f]{{{DIGITS}}}")


def write_manifest(done: Done) -> dict[str, Json]:
    """The manifest of a shard; fields without a value, such as the rows of a blob, are left out."""
    tables = {name: _file(entry) for name, entry in done.tables.items()}
    blobs = {name: _file(entry) for name, entry in done.blobs.items()}
    return {
        name: value for name, value in {**vars(done), "tables": tables, "blobs": blobs}.items() if value is not None
    }


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


def write_listing(shards: Sequence[Shard], root: str) -> dict[str, Json]:
    """What planning needs of the shards of a listing, and where the data were."""
    return {"root": root, "shards": [{"key": shard.key, **_planned(shard)} for shard in shards]}


def read_listing(said: Mapping[str, Json]) -> list[Shard]:
    """The shards of a listing, without payloads."""
    return [_shard(entry, _name(entry, "key")) for entry in _objects(said, "shards")]


def write_rows(key: str, fingerprints: Sequence[str]) -> dict[str, Json]:
    """The rows of one shard of a data set; `key` identifies the list."""
    return {"key": key, "fingerprints": list(fingerprints)}


def read_rows(path: str, said: Mapping[str, Json]) -> tuple[str, list[str]]:
    """Key and fingerprints of the row list at `path`."""
    key, rows = value_of(said, "key", str), value_of(said, "fingerprints", list)
    if row_list_key(path.rsplit("/", 1)[-1])[1] != key:
        raise ValueError(f"it holds the rows of {key}")
    texts = [row for row in rows if isinstance(row, str)]
    if len(texts) != len(rows):
        raise ValueError("fingerprints holds something else than texts")
    if not all(map(_FINGERPRINT.fullmatch, texts)):
        raise ValueError(f"a fingerprint has {DIGITS} digits, hexadecimal")
    return key, texts


def read_listed_root(said: Mapping[str, Json]) -> str:
    """Where the data of a listing were."""
    return value_of(said, "root", str)


def read_progress(said: Mapping[str, Json]) -> dict[str, float]:
    """How far a training is: epoch, epochs, and other numbers that its workers report, such as the loss."""
    return {name: value_of(said, name, float) for name in ("epoch", "epochs", *said)}


def write_progress(said: Mapping[str, float]) -> dict[str, Json]:
    """How far a training is, for `read_progress`; numbers that are not finite, as a diverged loss, are left out."""
    return {name: value for name, value in said.items() if math.isfinite(value)}


def read_layout(said: Mapping[str, Json]) -> int:
    """The version of a run root's layout."""
    return value_of(said, "layout", int)


def read_newest(said: Mapping[str, Json]) -> tuple[str, str]:
    """Recipe and name of a stage's newest set."""
    return _name(said, "recipe"), _name(said, "set")


def read_recipe(said: Mapping[str, Json]) -> Recipe:
    """What a recipe is made of."""
    recipe = Recipe.of(said)
    for name in (name for pairs in recipe.inputs.values() for pair in pairs for name in pair):
        check_name(name)
    return recipe


def _file(entry: StoredFile) -> dict[str, Json]:
    return {field: value for field, value in vars(entry).items() if value is not None}


def _planned(shard: Shard) -> dict[str, Json]:
    """What downstream stages see of a shard; they may read its arguments where a source stage set them."""
    inputs = {
        slot: [[ref.stage, ref.recipe, ref.key, ref.identity] for ref in refs] for slot, refs in shard.inputs.items()
    }
    return {"rows": shard.rows, "labels": shard.labels, "inputs": inputs, "args": shard.args}


def _entry(said: Mapping[str, Json]) -> Entry:
    done = _done(value_of(said, "done", dict))
    return Entry(done, _shard(said, done.key, done.identity))


def _done(said: Mapping[str, Json]) -> Done:
    stage, recipe, key, attempt = (_name(said, name) for name in ("stage", "recipe", "key", "attempt"))
    folder, phases = RecipeFolder(stage, recipe), value_of(said, "phases", dict)
    tables = {name: _stored(entry, folder.part(key, attempt, name)) for name, entry in _files(said, "tables")}
    blobs = {name: _stored(entry, folder.blob(key, attempt, name)) for name, entry in _files(said, "blobs")}
    for name in blobs:
        check_below(name or "/")
    if any(entry.rows is None for entry in tables.values()):
        raise ValueError("a table without rows")
    return Done(
        stage,
        recipe,
        key,
        attempt,
        tables,
        blobs,
        ok=_count(said, "ok"),
        quarantined=_count(said, "quarantined"),
        seconds=value_of(said, "seconds", float),
        phases={name: value_of(phases, name, float) for name in phases},
        identity=value_of(said, "identity", str),
        cpu=value_of(said, "cpu", float),
        checking=value_of(said, "checking", float),
        labels=_counts(value_of(said, "labels", dict)) if "labels" in said else None,
    )


def _files(said: Mapping[str, Json], kind: str) -> list[tuple[str, dict[str, Json]]]:
    files = value_of(said, kind, dict)
    return [(name, value_of(files, name, dict)) for name in files]


def _stored(said: dict[str, Json], path: str) -> StoredFile:
    """A file of a shard, which must lie where the layout puts it."""
    if said.get("file") != path:
        raise ValueError(f"it names {said.get('file')!r}, where {path} was expected")
    counts = {name: _count(said, name) for name in ("rows", "schema") if name in said}
    return StoredFile(path, _count(said, "bytes"), value_of(said, "sha256", str), **counts)


def _shard(said: Mapping[str, Json], key: str, identity: str = "") -> Shard:
    rows, labels = said.get("rows"), value_of(said, "labels", dict)
    inputs = value_of(said, "inputs", dict)
    if rows is not None:
        rows = _count(said, "rows")
    refs = {slot: tuple(map(_ref, value_of(inputs, slot, list))) for slot in inputs}
    return Shard(key, refs, value_of(said, "args", dict), rows, labels=_counts(labels), identity=identity)


def _ref(said: Json) -> ShardRef:
    if not isinstance(said, list) or len(said) != 4:
        raise ValueError("a shard is named by stage, recipe, key and identity")
    stage, recipe, key, identity = (str(part) for part in said)
    for name in (stage, recipe, key):
        check_name(name)
    return ShardRef(stage, recipe, key, identity)


def _counts(said: dict[str, Json]) -> LabelCounts:
    return {split: {name: _count(own, name) for name in own} for split, own in _each(said)}


def _each(said: dict[str, Json]) -> list[tuple[str, dict[str, Json]]]:
    return [(name, value_of(said, name, dict)) for name in said]


def _name(said: Mapping[str, Json], name: str) -> str:
    """A name that becomes part of a path."""
    check_name(value := value_of(said, name, str))
    return value


def _count(said: Mapping[str, Json], name: str) -> int:
    if (value := value_of(said, name, int)) < 0:
        raise ValueError(f"{name} is negative")
    return value


def _objects(said: Mapping[str, Json], name: str) -> list[dict[str, Json]]:
    found = value_of(said, name, list)
    objects = [entry for entry in found if isinstance(entry, dict)]
    if len(objects) != len(found):
        raise ValueError(f"{name} holds something else than objects")
    return objects
