"""Shards to be computed again, and their dependents: all that was made of them, in this config and outside it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.planning.plan import PlannedStage
from pipeline.planning.walk import Walk
from pipeline.store.layout import TRAININGS, RecipeFolder
from pipeline.store.records import Recipe, Shard
from pipeline.store.store import DamagedError, Store
from pipeline.upkeep.stage_folders import recipes_by_stage


@dataclass(frozen=True)
class Dependents:
    """Shards of one recipe that are to be computed again; `done` of them are complete."""

    stage: str
    recipe: str
    keys: frozenset[str]
    done: int
    planned: bool = True

    @property
    def title(self) -> str:
        """Its name in a table."""
        return self.stage if self.planned else f"{self.stage}, which the config does not plan (recipe {self.recipe})"


def find_dependents(
    store: Store, planned: Mapping[str, PlannedStage], retried: Mapping[str, set[str]]
) -> list[Dependents]:
    """The shards to be tried again and those of their downstream stages, leaves first.

    A shard's key is a hash of its inputs' keys, so the plan shows what depends on a shard: every shard whose key
    changes when this one's does. A result declared not to follow its inputs (`refit: never`) keeps its key, and stays.
    """
    walk = Walk()
    found: list[Dependents] = []
    for name, stage in planned.items():
        inputs = walk.inputs(stage.stage)
        touched = {each.stage for each in found} & {up.name for ups in inputs.values() for up in ups}
        shards = walk.plan(stage.stage, stage.recipe) if touched else stage.shards
        own = retried.get(name, set())
        renamed = [_renamed(shard) if shard.key in own else shard for shard in shards]
        walk.step(stage.stage, stage.recipe, renamed)
        keys = frozenset(stage.keys) - {shard.key for shard in renamed}
        if keys:
            found.append(Dependents(name, stage.recipe.id, keys, len(keys & stage.done.keys())))
    return [*_unplanned(store, planned, found), *reversed(found)]


def _renamed(shard: Shard) -> Shard:
    """The shard under another key and identity: the keys of its dependents change with them."""
    return replace(shard, key=f"{shard.key}-again", identity=f"{shard.identity}-again")


def forget(store: Store, dependents: Iterable[Dependents]) -> None:
    """Forget them, leaves first: if interrupted at any moment, the quarantined rows still lead to the rest."""
    for each in dependents:
        store.forget(each.stage, each.recipe, sorted(each.keys))


def _unplanned(store: Store, planned: Mapping[str, PlannedStage], dependents: Sequence[Dependents]) -> list[Dependents]:
    """Recipes outside this config that read one of them, with all their shards: which shards did is not recorded.

    Examples are an export made by the command, and results of other parameters, which a run may come back to.
    """
    ours = {RecipeFolder(name, stage.recipe.id) for name, stage in planned.items()}
    reads = {folder: above for folder, above in _readers(store).items() if folder not in ours}
    known = {RecipeFolder(each.stage, each.recipe) for each in dependents}
    found = set(known)
    while new := {folder for folder, above in reads.items() if above & found} - found:
        found |= new
    folders = sorted(found - known)
    dones = {folder: store.manifests(*folder) for folder in folders}
    trainings = {folder: store.files.names(folder.area(TRAININGS)) for folder in folders}
    return [
        Dependents(*folder, frozenset({*dones[folder], *trainings[folder]}), len(dones[folder]), planned=False)
        for folder in folders
    ]


def _readers(store: Store) -> dict[RecipeFolder, set[RecipeFolder]]:
    """Each recipe that a run ever began, and the recipes that it reads."""
    folders = [RecipeFolder(stage, name) for stage, names in recipes_by_stage(store).items() for name in names]
    return {folder: _read_by(_recipe(store, folder)) for folder in folders}


def _read_by(recipe: Recipe | None) -> set[RecipeFolder]:
    inputs = {} if recipe is None else recipe.inputs
    return {RecipeFolder(*pair) for pairs in inputs.values() for pair in pairs}


def _recipe(store: Store, folder: RecipeFolder) -> Recipe | None:
    try:
        return store.recipe(*folder)
    except DamagedError as error:
        said = f"{error.words}: what depends on the quarantined images cannot be known"
        raise DamagedError(error.path, said) from error
