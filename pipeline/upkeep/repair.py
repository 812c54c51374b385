"""Making a damaged run root whole again: what is bad moves to `damaged/`, so that the next run makes it anew.

Nothing is deleted, and nothing is trusted that does not fit its checksum. A manifest that a sound set holds too is
written from there. Everything else that is made of a damaged part stays as it is: it was made before the damage.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipeline.store import layout
from pipeline.store.encoding import write_manifest
from pipeline.store.layout import RecipeFolder
from pipeline.store.records import CompleteSet, Done
from pipeline.store.sealed import seal
from pipeline.store.store import DamagedError, Store
from pipeline.upkeep.verify import Damage

MOST_SHARDS, MOST_SHARE = 10, 0.01
"""More shards of a recipe than both are not given up without being asked twice: then the storage is ill, not a file."""
TRAINING = "training"


@dataclass
class Repair:
    """What is to be done. moves: paths that go to `damaged/`. manifests: path -> what is written there instead.

    again: shards to be computed again. refused: why it is not done without being told so.
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
            recipes.setdefault(place.folder, _Recipe(store, place.folder)).add(each, place.area)
    for recipe in recipes.values():
        recipe.decide(repair, moved)
    repair.moves = sorted(path for path in moved if store.files.exists(path))
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


class _Recipe:
    """The damage of one recipe."""

    def __init__(self, store: Store, folder: RecipeFolder) -> None:
        self._folder = folder
        sets = store.sets(*folder)
        self._sets: Mapping[str, CompleteSet] = {
            name: found for name, found in sets.items() if not isinstance(found, DamagedError)
        }
        self._shards = max([len(found.entries) for found in self._sets.values()], default=0)
        self._held = {done.key: done for found in self._sets.values() for done in found.dones.values()}
        self._objects: set[str] = set()
        self._manifests: set[str] = set()
        self._lost: dict[str, list[Damage]] = {}

    def add(self, damage: Damage, area: str) -> None:
        """One more damaged object."""
        if area in (layout.PARTS, layout.BLOBS) and damage.done is not None:
            self._lost.setdefault(damage.done.key, []).append(damage)
        elif area == layout.MANIFESTS:
            self._manifests.add(damage.path)
        else:
            self._objects.add(damage.path)

    def decide(self, repair: Repair, moved: set[str]) -> None:
        """Say what is to be done about it."""
        moved |= self._objects | self._manifests
        for path in sorted(self._manifests):
            key = layout.owner(path)[1]
            if key in self._held and key not in self._lost:
                repair.manifests[path] = self._held[key]
            else:
                repair.again[self._folder.stage] += 1
        for key, found in self._lost.items():
            moved |= {self._folder.manifest(key), *(damage.path for damage in found)}
            repair.again[self._folder.stage] += 1
        moved |= {self._folder.complete_set(name) for name in self._naming(self._lost)}
        repair.refused += self._refusals()

    def _naming(self, keys: Collection[str]) -> list[str]:
        """The sets that name one of these shards."""
        return [name for name, found in self._sets.items() if not found.dones.keys().isdisjoint(keys)]

    def _refusals(self) -> list[str]:
        said = []
        if any(_is_trained(damage.done) for found in self._lost.values() for damage in found):
            said.append(f"{self._folder.path}: a trained model is damaged, and would be trained again")
        if len(self._lost) > max(MOST_SHARDS, MOST_SHARE * self._shards):
            said.append(f"{self._folder.path}: {len(self._lost)} of {self._shards} shards are damaged")
        return said


def _is_trained(done: Done | None) -> bool:
    """Whether a shard is a model: it has files of its own, and a log of its training."""
    return done is not None and bool(done.blobs) and TRAINING in done.tables
