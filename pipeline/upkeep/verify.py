"""Re-checking what is committed: manifests and sets, every file of the newest sets, and images between stages."""

import hashlib
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.contract.stage import AnyStage
from pipeline.planning.graph import topological
from pipeline.store import layout
from pipeline.store.layout import RecipeFolder
from pipeline.store.records import CompleteSet, Done, StoredFile
from pipeline.store.store import DamagedError, Store
from pipeline.upkeep.conservation import Conservation
from schemas import TABLES, check_version, validate

_IMAGE = "image_id"
_QUARANTINE = "quarantine"


@dataclass
class Verified:
    """What was looked at, and one line for each damage."""

    stages: int = 0
    files: int = 0
    rows: int = 0
    damage: list[str] = field(default_factory=list)


def verify(store: Store, stages: Collection[str]) -> Verified:
    """Check that manifests and sets can be read and fit each other, and all files of the newest complete sets.

    stages: names. As a mapping to the stages themselves, that no image is lost or doubled on its way is checked too.
    """
    result = Verified()
    known: Mapping[str, AnyStage] = stages if isinstance(stages, Mapping) else {}
    conservation = Conservation(store)
    for name in topological(known) if known else stages:
        recipes = {
            recipe: _Recipe(store.manifests(name, recipe), store.sets(name, recipe))
            for recipe in store.files.names(name)
            if not layout.is_file_of_stage(recipe)
        }
        for recipe, committed in recipes.items():
            _verify_recipe(store, name, recipe, committed, result)
        complete = _newest_set(store, name, recipes, result)
        if complete is None:
            continue
        result.stages += 1
        stage = known.get(name)
        _verify_stage(store, stage if stage and stage.per_image else None, complete, result)
        if stage is not None:
            result.damage += _conserved(conservation, stage, complete)
    return result


def _conserved(conservation: Conservation, stage: AnyStage, complete: CompleteSet) -> list[str]:
    """What conservation finds; a recipe that cannot be read is damage that was named already."""
    try:
        return conservation.add(stage, complete)
    except DamagedError:
        return []


@dataclass(frozen=True)
class _Recipe:
    """What is committed under one recipe: by key and by set."""

    manifests: Mapping[str, Done | DamagedError]
    sets: Mapping[str, CompleteSet | DamagedError]


def _verify_recipe(store: Store, stage: str, recipe: str, committed: _Recipe, result: Verified) -> None:
    """Every small JSON object, whether the newest set needs it or not: a damaged one would stop a later run."""
    for found in (*committed.manifests.values(), *committed.sets.values()):
        if isinstance(found, DamagedError):
            result.damage.append(f"{stage}: {found}")
    for name, found in committed.sets.items():
        if not isinstance(found, DamagedError):
            missing = (key for key in found.dones if key not in committed.manifests)
            said = f"{stage}: set {RecipeFolder(stage, recipe).complete_set(name)} names shard"
            result.damage += [f"{said} {key}, whose manifest is missing; remove the set" for key in missing]
    for read in (store.recipe, store.listing):
        try:
            read(stage, recipe)
        except DamagedError as error:
            result.damage.append(f"{stage}: {error}")


def _newest_set(store: Store, stage: str, recipes: Mapping[str, _Recipe], result: Verified) -> CompleteSet | None:
    """The stage's newest complete set; None where there is none, or none to be read."""
    try:
        newest = store.newest(stage)
    except DamagedError as error:
        result.damage.append(f"{stage}: {error}")
        return None
    if newest is None:
        return None
    recipe, name = newest
    committed = recipes.get(recipe, _Recipe({}, {}))
    found = committed.sets.get(name)
    if found is None:
        result.damage.append(f"{stage}: set {name} is missing")
    if found is None or isinstance(found, DamagedError):
        return None
    for done in found.dones.values():
        if isinstance(manifest := committed.manifests.get(done.key), Done) and manifest != done:
            path = RecipeFolder(stage, recipe).complete_set(name)
            said = f"{stage}: shard {done.key}: its manifest is not the one that set {path} names"
            result.damage.append(f"{said}; remove the set")
    return found


def _verify_stage(store: Store, per_image: AnyStage | None, complete: CompleteSet, result: Verified) -> None:
    name, keys = complete.stage, dict[str, list[pa.Table]]()
    for done in complete.dones.values():
        for blob, entry in done.blobs.items():
            result.files += 1
            _bytes(store, f"{name}: blob {blob}", entry, result)
        for table_name, entry in done.tables.items():
            result.files += 1
            table = _table(store, table_name, entry, f"{name}: part {entry.file}", result)
            if table is not None:
                result.rows += table.num_rows
                keys.setdefault(table_name, []).append(table.select(list(TABLES[table_name].key)))
        result.damage += _counts(name, done)
    if per_image and _IMAGE in TABLES[primary := per_image.outputs[0]].key:
        images = [part.select([_IMAGE]) for table in (primary, _QUARANTINE) for part in keys.pop(table, [])]
        result.damage += _repeated(images, f"{name}: table {primary}, with quarantine")
    for table_name, parts in keys.items():
        result.damage += _repeated(parts, f"{name}: table {table_name}")


def _counts(stage: str, done: Done) -> list[str]:
    """A manifest counts the rows of its first table, and of quarantine."""
    first = next((table for table in done.tables if table != _QUARANTINE), "")
    lines = []
    for table, counted in ((first, done.ok), (_QUARANTINE, done.quarantined)):
        rows = done.tables[table].rows if table in done.tables else 0
        if rows != counted:
            lines.append(f"{stage}: shard {done.key}: {counted} rows of {table or 'a table'} are counted, {rows} named")
    return lines


def _repeated(parts: Sequence[pa.Table], where: str) -> list[str]:
    """A line where the keys of all shards together are not unique; it shows one that is there again."""
    joined = pa.concat_tables(parts, promote_options="permissive") if parts else pa.table({})
    if not joined.column_names:
        return []
    counts = joined.group_by(joined.column_names).aggregate([([], "count_all")])
    again = counts.filter(pc.field("count_all") > 1).drop_columns(["count_all"])
    if not again.num_rows:
        return []
    shown = ", ".join(map(str, again.slice(0, 1).to_pylist()[0].values()))
    return [f"{where}: {'+'.join(joined.column_names)} is not unique over the stage's shards, for one {shown}"]


def _bytes(store: Store, where: str, entry: StoredFile, result: Verified) -> bytes | None:
    try:
        data = store.files.get(entry.file)
    except FileNotFoundError:
        result.damage.append(f"{where} is missing")
        return None
    if len(data) != entry.bytes or hashlib.sha256(data).hexdigest() != entry.sha256:
        result.damage.append(f"{where} differs from its manifest")
        return None
    return data


def _table(store: Store, name: str, entry: StoredFile, where: str, result: Verified) -> pa.Table | None:
    data = _bytes(store, where, entry, result)
    if data is None:
        return None
    try:
        table = pq.read_table(io.BytesIO(data))
        check_version(table.schema, TABLES[name])
        validate(table.cast(TABLES[name].schema), TABLES[name])
    except ValueError as error:
        result.damage.append(f"{where}: {error}")
        return None
    if table.num_rows != entry.rows:
        result.damage.append(f"{where}: {table.num_rows} rows, its manifest says {entry.rows}")
    return table
