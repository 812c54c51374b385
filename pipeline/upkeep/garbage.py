"""What a run root holds that no result needs any more, and its removal.

Two things protect a run that is active. A recipe's files are listed *before* its manifests are read: what was committed
meanwhile is then named. (The other way round, a part and its manifest that appear in between would look like garbage.)
And a part that is written and not yet committed is young: nothing is removed that was written less than `older_than`
ago. Both times of that difference are the storage's own, because the clock of this machine may be wrong: "now" is the
time that the storage gives to an object written for that purpose.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from pipeline.store import layout
from pipeline.store.files import Listed
from pipeline.store.layout import RecipeFolder
from pipeline.store.paths import UnsafePathError
from pipeline.store.records import Done, Recipe
from pipeline.store.store import DamagedError, Store
from pipeline.upkeep.stage_folders import recipes_by_stage

UNNAMED = "no manifest names it"
STAGED = "write that was killed"
CHECKPOINT = "checkpoint of a finished training"
RAY_TRAIN = "Ray's notes on a finished training"
OLD_RECIPE = "recipe that is neither planned nor newest"

_WHOLE = (RAY_TRAIN, OLD_RECIPE)
"""Reasons for which files go together or not at all."""
_RANKS = {layout.SETS: 0, layout.MANIFESTS: 1, layout.RECIPE: 3}
"""The order in which the objects of a recipe are removed; all others: 2. A run that finds half of them must find no set
without its manifests, no manifest without its parts, and must still recognize a recipe in the rest."""


@dataclass(frozen=True)
class Garbage:
    """Files of one recipe that can be removed for one reason; recipe "" stands for files beside all recipes."""

    stage: str
    recipe: str
    reason: str
    files: Sequence[Listed]

    @property
    def bytes(self) -> int:
        """Their size."""
        return sum(file.bytes for file in self.files)


@dataclass
class Found:
    """Garbage that can be removed, garbage that is still too young, and a line for each recipe that is left alone."""

    old: list[Garbage] = field(default_factory=list)
    young: list[Garbage] = field(default_factory=list)
    left_alone: list[str] = field(default_factory=list)


def find_garbage(store: Store, older_than: float, planned: Mapping[str, Recipe] | None = None) -> Found:
    """Look through all stages of a run root, whether a config knows them or not. Removes nothing.

    older_than: seconds. planned: stage -> recipe; given, whole recipes besides these and the newest are garbage too.
    Not while another config runs on this root: its run may use an old recipe again without writing to it.
    """
    found = Found()
    recipes = recipes_by_stage(store)
    if not recipes:
        return found
    clock = store.files.now()
    for stage, names in {"": [], layout.UPLOADS: [], layout.RUNS: [], **recipes}.items():
        garbage: list[Garbage] = []
        for recipe in ("", *names):
            try:
                garbage += _of_recipe(store, stage, recipe, planned) if recipe else _beside(store, stage)
            except (DamagedError, UnsafePathError) as error:
                found.left_alone.append(f"{stage}/{recipe} is left alone: {error}")
        for each in garbage:
            _by_age(each, clock, older_than, found)
    return found


def remove(store: Store, garbage: Iterable[Garbage]) -> None:
    """Delete garbage; if interrupted at any moment, the store stays sound and the rest is left for the next time."""
    for each in garbage:
        for _, files in groupby(sorted(each.files, key=_rank), key=_rank):
            store.files.remove_many([file.path for file in files])
        for folder in sorted({_own_folder(each, file) for file in each.files} - {""}):
            store.files.remove_empty_folders(folder)


def _beside(store: Store, stage: str) -> list[Garbage]:
    """The garbage beside the recipes of a stage. Raises UnsafePathError for a link out of the run root."""
    return [Garbage(stage, "", STAGED, [file for file in store.files.listing(stage, depth=1) if file.staged])]


def _of_recipe(store: Store, stage: str, recipe: str, planned: Mapping[str, Recipe] | None) -> list[Garbage]:
    """The garbage of a recipe. Raises DamagedError for a damaged manifest, whose files are unknown; UnsafePathError."""
    folder = RecipeFolder(stage, recipe)
    files = store.files.listing(folder.path)
    dones = _manifests(store, stage, recipe)
    ours = any(file.path == folder.recipe_file for file in files)
    if ours and planned is not None and recipe not in _in_use(store, stage, planned):
        return [Garbage(stage, recipe, OLD_RECIPE, files)]
    keys = {done.key for done in dones}
    named = {entry.file for done in dones for entry in done.files}
    units: dict[tuple[str, str], list[Listed]] = {}
    for file in files:
        unit = _unit(file, keys, named)
        if unit is not None:
            units.setdefault(unit, []).append(file)
    return [Garbage(stage, recipe, reason, found) for (reason, _), found in units.items()]


def _in_use(store: Store, stage: str, planned: Mapping[str, Recipe]) -> set[str]:
    """The ids of the stage's planned and its newest recipe."""
    ids = {planned[stage].id} if stage in planned else set()
    newest = store.newest(stage)
    return ids if newest is None else ids | {newest[0]}


def _unit(file: Listed, keys: set[str], named: set[str]) -> tuple[str, str] | None:
    """The reason why a file may go, and the name of what must go with it; None for a file that stays.

    keys: of complete shards. named: paths that manifests name.
    """
    place = layout.parse(file.path)
    if file.staged:
        return STAGED, ""
    if place is None:
        return None
    if place.area in (layout.PARTS, layout.BLOBS) and file.path not in named:
        return UNNAMED, ""
    if place.area == layout.TRAININGS and place.key in keys:
        return CHECKPOINT, ""
    if place.area == layout.RAY_TRAIN and place.key in keys:
        return RAY_TRAIN, place.name
    return None


def _manifests(store: Store, stage: str, recipe: str) -> list[Done]:
    alone, in_sets = store.manifests(stage, recipe), store.sets(stage, recipe)
    dones: list[Done] = []
    for found in (*alone.values(), *in_sets.values()):
        if isinstance(found, DamagedError):
            raise found
        dones += [found] if isinstance(found, Done) else found.dones.values()
    return dones


def _by_age(garbage: Garbage, clock: float | None, older_than: float, found: Found) -> None:
    """Sort garbage by age; a recipe and a run of Ray Train are as young as their youngest file."""

    def is_old(file: Listed) -> bool:
        return clock is not None and file.modified is not None and clock - file.modified >= older_than

    together = garbage.reason in _WHOLE and not all(map(is_old, garbage.files))
    old: list[Listed] = []
    young: list[Listed] = []
    for file in garbage.files:
        (old if is_old(file) and not together else young).append(file)
    for files, kind in ((old, found.old), (young, found.young)):
        if files:
            kind.append(replace(garbage, files=files))


def _rank(file: Listed) -> int:
    place = layout.parse(file.path)
    return 2 if place is None else _RANKS.get(place.area, 2)


def _own_folder(garbage: Garbage, file: Listed) -> str:
    """The folder that is removed with a file; empty where other attempts write into it."""
    if garbage.reason == OLD_RECIPE:
        return RecipeFolder(garbage.stage, garbage.recipe).path
    place = layout.parse(file.path)
    return "" if place is None else place.own_folder
