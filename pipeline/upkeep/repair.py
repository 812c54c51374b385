"""Repair of a damaged run root: damaged objects move to `damaged/`, so that the next run makes them again.

Nothing is deleted, and nothing is trusted that does not fit its checksum. A manifest that a sound set holds too is
written from there. Everything else that is made of a damaged part stays as it is: it was made before the damage.

What is left is sound, though not complete: no set names a shard that is gone, and no stage a set that is.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipeline.store import layout
from pipeline.store.encoding import write_manifest
from pipeline.store.layout import Place, RecipeFolder
from pipeline.store.paths import UnsafePathError
from pipeline.store.records import CompleteSet, Done
from pipeline.store.sealed import seal
from pipeline.store.store import DamagedError, Store
from pipeline.upkeep.damage import Damage

MOST_SHARDS, MOST_SHARE = 10, 0.01
"""More damaged shards of a recipe than both are moved only with --all: the whole storage may be bad, not some files."""
TRAINING = "training"


@dataclass
class Repair:
    """What is to be done. moves: paths that go to `damaged/`. manifests: path -> what is written there instead.

    marker: whether the layout's version is written anew. again: number of shards to be computed again, by stage.
    refused: why it is not done without --all. left: damage that moving objects cannot repair.
    """

    moves: list[str] = field(default_factory=list)
    manifests: dict[str, Done] = field(default_factory=dict)
    marker: bool = False
    again: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def plan_repair(store: Store, damage: Sequence[Damage]) -> Repair:
    """What would make the root whole again. Reads, and changes nothing."""
    repair = Repair()
    recipes: dict[RecipeFolder, _Recipe] = {}
    moved: set[str] = set()
    for each in damage:
        place = layout.parse(each.path)
        if not each.path:
            repair.left.append(str(each))
        elif place is None:
            moved.add(each.path)
            repair.marker |= each.path == layout.MARKER
        else:
            recipes.setdefault(place.folder, _Recipe(store, place.folder)).add(each, place)
    for recipe in recipes.values():
        recipe.decide(repair, moved)
    for stage in {each.stage for each in damage if each.stage}:
        if _is_newest_lost(store, stage, moved):
            moved.add(layout.newest(stage))
    repair.moves = sorted({found for path in moved if (found := _to_move(store, path))}, key=_order)
    return repair


def carry_out(store: Store, repair: Repair) -> str:
    """Move and write what was planned; returns the folder that it was moved to."""
    folder = f"{layout.DAMAGED}/{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    for path in repair.moves:
        store.files.move(path, f"{folder}/{path}")
    for path, done in repair.manifests.items():
        store.files.put_if_absent(path, seal(write_manifest(done)))
    if repair.marker:
        store.files.put_if_absent(layout.MARKER, seal({"layout": layout.VERSION}))
    return folder


def _sound_sets(store: Store, folder: RecipeFolder) -> Mapping[str, CompleteSet]:
    try:
        sets = store.sets(*folder)
    except DamagedError:
        return {}
    return {name: found for name, found in sets.items() if not isinstance(found, DamagedError)}


def _is_newest_lost(store: Store, stage: str, moved: Collection[str]) -> bool:
    """Whether a stage's newest set is not there, or will not be."""
    try:
        newest = store.newest(stage)
    except DamagedError:
        return True
    if newest is None:
        return False
    path = RecipeFolder(stage, newest[0]).complete_set(newest[1])
    return path in moved or not store.files.exists(path)


def _to_move(store: Store, path: str) -> str | None:
    """The path to move for a damaged object: its own, or that of a link or file above it; None if nothing is there."""
    try:
        found = store.files.in_the_way(path)
        return found if store.files.holds(found) else None
    except UnsafePathError:
        return None


def _order(path: str) -> tuple[int, str]:
    """Pointers, then sets, then manifests: if interrupted at any moment, nothing names an object that was moved."""
    place = layout.parse(path)
    areas = ("", layout.SETS, layout.MANIFESTS)
    return (0 if place is None else areas.index(place.area) if place.area in areas else len(areas)), path


class _Recipe:
    """The damage of one recipe."""

    def __init__(self, store: Store, folder: RecipeFolder) -> None:
        self._store, self._folder = store, folder
        self._sets = _sound_sets(store, folder)
        self._shards = max([len(found.entries) for found in self._sets.values()], default=0)
        self._held = {done.key: done for found in self._sets.values() for done in found.dones.values()}
        self._objects: set[str] = set()
        self._manifests: set[str] = set()
        self._lost: dict[str, list[Damage]] = {}

    def add(self, damage: Damage, place: Place) -> None:
        """One more damaged object."""
        if place.area in (layout.PARTS, layout.BLOBS) and damage.done is not None:
            self._lost.setdefault(damage.done.key, []).append(damage)
        elif place.area == layout.MANIFESTS and place.name:
            self._manifests.add(damage.path)
        else:
            self._objects.add(damage.path)

    def decide(self, repair: Repair, moved: set[str]) -> None:
        """Add what is to be done to `repair`, and the paths that move to `moved`."""
        moved |= self._objects | self._manifests
        for path in sorted(self._manifests):
            key = layout.owner(path)[1]
            if key in self._held and key not in self._lost:
                repair.manifests[path] = self._held[key]
            elif key not in self._lost:
                self._lost[key] = []
        for key, found in self._lost.items():
            moved |= {self._folder.manifest(key), *(damage.path for damage in found)}
        moved |= {self._folder.complete_set(name) for name in self._naming(self._lost)}
        if self._lost:
            repair.again[self._folder.stage] += len(self._lost)
            repair.refused += self._refusals()

    def _naming(self, keys: Collection[str]) -> list[str]:
        """The sets that name one of these shards."""
        return [name for name, found in self._sets.items() if not found.dones.keys().isdisjoint(keys)]

    def _refusals(self) -> list[str]:
        said = []
        if any(map(self._is_trained, self._lost)):
            said.append(f"{self._folder.path}: a trained model is damaged, and would be trained again")
        shards = max(self._shards, len(self._store.files.names(self._folder.area(layout.MANIFESTS))))
        if len(self._lost) > max(MOST_SHARDS, MOST_SHARE * shards):
            said.append(f"{self._folder.path}: {len(self._lost)} of {shards} shards are damaged")
        return said

    def _is_trained(self, key: str) -> bool:
        """Whether a shard is a model: it has files of its own, and a log of its training."""
        dones = [damage.done for damage in self._lost[key] if damage.done is not None]
        if dones:
            return any(done.blobs and TRAINING in done.tables for done in dones)
        names = (self._store.files.names(self._folder.area(area)) for area in (layout.PARTS, layout.BLOBS))
        logs, blobs = ([name for name in found if name.startswith(f"{key}-")] for found in names)
        return bool(blobs) and any(name.endswith(f".{TRAINING}.parquet") for name in logs)
