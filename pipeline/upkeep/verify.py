"""Re-checks of a run root: every JSON object, every committed file, and the numbers of images between stages."""

import hashlib
import io
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.base.json_types import Json
from pipeline.contract.stage import AnyStage
from pipeline.planning.graph import topological
from pipeline.store import layout
from pipeline.store.encoding import read_listing, read_progress, read_recipe, read_rows
from pipeline.store.layout import RecipeFolder
from pipeline.store.paths import UnsafePathError
from pipeline.store.records import CompleteSet, Done, StoredFile
from pipeline.store.store import QUARANTINE, DamagedError, Store
from pipeline.upkeep.conservation import Conservation
from pipeline.upkeep.damage import Damage, Verified
from pipeline.upkeep.root_objects import Readers, try_to_read, verify_root
from pipeline.upkeep.stage_folders import recipes_by_stage
from schemas import TABLES, check_version, validate

T = TypeVar("T")
_IMAGE = "image_id"


def verify(store: Store, stages: Collection[str], readers: Readers | None = None) -> Verified:
    """Check every JSON object and every committed file of a run root, and that those of each set fit each other.

    stages: names; given a mapping name -> stage, also check that no image is lost or doubled between stages.
    readers: path -> reader, of objects beside the stages that only the caller knows.
    """
    result = Verified()
    known: Mapping[str, AnyStage] = stages if isinstance(stages, Mapping) else {}
    conservation = Conservation(store)
    order = topological(known) if known else list(stages)
    pages: set[str] = set()
    for name in (*order, *(other for other in recipes_by_stage(store) if other not in order)):
        recipes = {recipe: _committed(store, name, recipe, result) for recipe in _recipes(store, name, result)}
        complete = _newest_set(store, name, recipes, result)
        for recipe, committed in recipes.items():
            _verify_recipe(store, name, recipe, committed, result)
            _verify_older(store, committed, complete, result)
            pages |= committed.pages()
        if complete is None:
            continue
        result.stages += 1
        stage = known.get(name)
        _verify_stage(store, stage if stage and stage.per_image else None, complete, result)
        if stage is not None:
            result.damage += _conserved(conservation, stage, complete)
    verify_root(store, readers or {}, pages, result)
    return result


def _recipes(store: Store, stage: str, result: Verified) -> list[str]:
    """The recipes of a stage, without stray files; a stage folder that is a link out of the root is damage."""
    try:
        names = [name for name in store.files.names(stage) if not layout.is_file_of_stage(name)]
        return [name for name in names if layout.is_recipe(name) or store.files.names(f"{stage}/{name}")]
    except UnsafePathError as error:
        result.damage.append(Damage(stage, stage, f"cannot be read ({error})"))
        return []


def _conserved(conservation: Conservation, stage: AnyStage, complete: CompleteSet) -> list[Damage]:
    """What conservation finds; a recipe that cannot be read was reported as damage already."""
    try:
        return [Damage(stage.name, "", line) for line in conservation.add(stage, complete)]
    except DamagedError:
        return []


@dataclass(frozen=True)
class _Recipe:
    """What is committed under one recipe: by key and by set."""

    manifests: Mapping[str, Done | DamagedError]
    sets: Mapping[str, CompleteSet | DamagedError]

    def shards(self) -> list[Done]:
        """The shards that can be read, as described by manifests and sets; each distinct description once."""
        found = [done for done in self.manifests.values() if isinstance(done, Done)]
        for complete in self.sets.values():
            found += [] if isinstance(complete, DamagedError) else complete.dones.values()
        distinct: dict[str, list[Done]] = {}
        for done in found:
            if done not in (known := distinct.setdefault(done.key, [])):
                known.append(done)
        return [done for known in distinct.values() for done in known]

    def pages(self) -> set[str]:
        """The checksums of its reports."""
        return {done.blobs[layout.REPORT].sha256 for done in self.shards() if layout.REPORT in done.blobs}


def _committed(store: Store, stage: str, recipe: str, result: Verified) -> _Recipe:
    def each(read: Callable[[str, str], Mapping[str, T]]) -> Mapping[str, T]:
        try:
            return read(stage, recipe)
        except DamagedError as error:
            result.add(stage, error)
            return {}

    return _Recipe(each(store.manifests), each(store.sets))


def _verify_recipe(store: Store, stage: str, recipe: str, committed: _Recipe, result: Verified) -> None:
    """Check every small JSON object, even if the newest set does not need it: a damaged one would stop a later run."""
    folder = RecipeFolder(stage, recipe)
    for found in (*committed.manifests.values(), *committed.sets.values()):
        if isinstance(found, DamagedError):
            result.add(stage, found)
    for name, found in committed.sets.items():
        if not isinstance(found, DamagedError):
            words = f"is missing, and set {folder.complete_set(name)} names it"
            missing = [done for key, done in found.dones.items() if key not in committed.manifests]
            result.damage += [Damage(stage, folder.manifest(done.key), words, done) for done in missing]
    try_to_read(store, stage, folder.recipe_file, read_recipe, result)
    try_to_read(store, stage, folder.listing, read_listing, result)
    for area, read in ((layout.ROWS, read_rows), (layout.PROGRESS, _read_progress)):
        try:
            for said in store.read_each(folder.area(area), read).values():
                if isinstance(said, DamagedError):
                    result.add(stage, said)
        except DamagedError as error:
            result.add(stage, error)


def _read_progress(_: str, said: Mapping[str, Json]) -> object:
    return read_progress(said)


def _verify_older(store: Store, committed: _Recipe, newest: CompleteSet | None, result: Verified) -> None:
    """Check the files of shards that the newest set lacks, or has otherwise: a run may come back to them."""
    current = {} if newest is None else newest.dones
    for done in committed.shards():
        if current.get(done.key) != done:
            for entry in done.files:
                _bytes(store, done, entry, result)


def _newest_set(store: Store, stage: str, recipes: Mapping[str, _Recipe], result: Verified) -> CompleteSet | None:
    """The stage's newest complete set; None where there is none, or none to be read."""
    try:
        newest = store.newest(stage)
    except DamagedError as error:
        result.add(stage, error)
        return None
    if newest is None:
        return None
    recipe, name = newest
    committed, path = recipes.get(recipe, _Recipe({}, {})), RecipeFolder(stage, recipe).complete_set(name)
    found = committed.sets.get(name)
    if found is None:
        result.damage.append(Damage(stage, path, "is missing"))
    if found is None or isinstance(found, DamagedError):
        return None
    for done in found.dones.values():
        if isinstance(manifest := committed.manifests.get(done.key), Done) and manifest != done:
            result.damage.append(Damage(stage, path, f"names another attempt at shard {done.key} than its manifest"))
    return found


def _verify_stage(store: Store, per_image: AnyStage | None, complete: CompleteSet, result: Verified) -> None:
    name, keys = complete.stage, dict[str, list[pa.Table]]()
    for done in complete.dones.values():
        for entry in done.blobs.values():
            _bytes(store, done, entry, result)
        for table_name, entry in done.tables.items():
            table = _table(store, table_name, done, entry, result)
            if table is not None:
                result.rows += table.num_rows
                keys.setdefault(table_name, []).append(table.select(list(TABLES[table_name].key)))
        result.damage += [Damage(name, "", line) for line in _counts(done)]
    repeated: list[str] = []
    if per_image and _IMAGE in TABLES[primary := per_image.outputs[0]].key:
        images = [part.select([_IMAGE]) for table in (primary, QUARANTINE) for part in keys.pop(table, [])]
        repeated += _repeated(images, f"table {primary}, with quarantine")
    for table_name, parts in keys.items():
        repeated += _repeated(parts, f"table {table_name}")
    result.damage += [Damage(name, "", line) for line in repeated]


def _counts(done: Done) -> Iterable[str]:
    """A line for each table whose rows, as the manifest lists them, differ from its counts `ok` and `quarantined`."""
    first = next((table for table in done.tables if table != QUARANTINE), "")
    for table, counted in ((first, done.ok), (QUARANTINE, done.quarantined)):
        rows = done.tables[table].rows if table in done.tables else 0
        if rows != counted:
            yield f"shard {done.key}: its manifest counts {counted} rows of {table or 'a table'}, but lists {rows}"


def _repeated(parts: Sequence[pa.Table], where: str) -> list[str]:
    """A line if the keys of all shards together are not unique; it shows one that occurs more than once."""
    joined = pa.concat_tables(parts, promote_options="permissive") if parts else pa.table({})
    if not joined.column_names:
        return []
    counts = joined.group_by(joined.column_names).aggregate([([], "count_all")])
    again = counts.filter(pc.field("count_all") > 1).drop_columns(["count_all"])
    if not again.num_rows:
        return []
    shown = ", ".join(map(str, again.slice(0, 1).to_pylist()[0].values()))
    return [f"{where}: {'+'.join(joined.column_names)} is not unique over the stage's shards, e.g. {shown}"]


def _bytes(store: Store, done: Done, entry: StoredFile, result: Verified) -> bytes | None:
    result.files += 1
    try:
        data = store.files.get(entry.file)
    except (FileNotFoundError, NotADirectoryError, UnsafePathError) as error:
        words = str(error) if isinstance(error, UnsafePathError) else "is missing"
        result.damage.append(Damage(done.stage, entry.file, words, done))
        return None
    if len(data) != entry.bytes or hashlib.sha256(data).hexdigest() != entry.sha256:
        result.damage.append(Damage(done.stage, entry.file, "differs from its manifest", done))
        return None
    return data


def _table(store: Store, name: str, done: Done, entry: StoredFile, result: Verified) -> pa.Table | None:
    data = _bytes(store, done, entry, result)
    if data is None:
        return None
    try:
        if name not in TABLES:
            raise ValueError(f"there is no table {name!r}")
        table = pq.read_table(io.BytesIO(data))
        check_version(table.schema, TABLES[name])
        validate(table.cast(TABLES[name].schema), TABLES[name])
    except (ValueError, KeyError) as error:
        result.damage.append(Damage(done.stage, entry.file, f"holds no table {name}: {error}", done))
        return None
    if table.num_rows != entry.rows:
        words = f"has {table.num_rows} rows, its manifest says {entry.rows}"
        result.damage.append(Damage(done.stage, entry.file, words, done))
    return table
