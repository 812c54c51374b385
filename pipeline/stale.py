"""What is to be computed again when some shards are: all that was made of them, in this config and outside it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.params import input_names
from pipeline.plan import PlannedStage, recipe_path
from pipeline.stage import Upstream
from pipeline.store import DamagedError, Store


@dataclass(frozen=True)
class Stale:
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


def find_stale(store: Store, planned: Mapping[str, PlannedStage], retried: Mapping[str, set[str]]) -> list[Stale]:
    """The shards to be tried again and all that hangs on them, from below to above.

    Keys are made of keys, so the plan itself says what hangs on a shard: what gets another key when the shard does. A
    result that is declared not to follow its inputs (`refit: never`) keeps its key, and stays.
    """
    above: dict[str, Upstream] = {}
    found: list[Stale] = []
    for name, stage in planned.items():
        names = input_names(stage.stage.params)
        inputs = {slot: tuple(above[source] for source in sources) for slot, sources in names.items()}
        touched = {each.stage for each in found} & {source for sources in names.values() for source in sources}
        shards = stage.stage.plan(stage.recipe, inputs, store) if touched else stage.shards
        own = retried.get(name, set())
        renamed = [replace(shard, key=f"{shard.key}-again") if shard.key in own else shard for shard in shards]
        above[name] = replace(stage.upstream, shards=renamed)
        keys = frozenset(stage.keys) - {shard.key for shard in renamed}
        if keys:
            found.append(Stale(name, stage.recipe, keys, len(keys & stage.done.keys())))
    return [*_unplanned(store, planned, found), *reversed(found)]


def forget(store: Store, stale: Iterable[Stale]) -> None:
    """Forget them, from below to above: cut off at any moment, the quarantined rows still lead to what is left."""
    for each in stale:
        store.forget(each.stage, each.recipe, sorted(each.keys))


def _unplanned(store: Store, planned: Mapping[str, PlannedStage], stale: Sequence[Stale]) -> list[Stale]:
    """Recipes outside this config that read a stale one, as a whole: which of their shards did stands nowhere.

    An export made by the command is one; results of other parameters are others, and a run may come back to them.
    """
    ours = {(name, stage.recipe) for name, stage in planned.items()}
    reads = {node: above for node, above in _readers(store).items() if node not in ours}
    found = {(each.stage, each.recipe) for each in stale}
    while new := {node for node, above in reads.items() if above & found} - found:
        found |= new
    nodes = sorted(found - {(each.stage, each.recipe) for each in stale})
    dones = {node: store.manifests(*node) for node in nodes}
    trainings = {node: store.files.names("/".join((*node, "train"))) for node in nodes}
    return [Stale(*node, frozenset({*dones[node], *trainings[node]}), len(dones[node]), False) for node in nodes]


def _readers(store: Store) -> dict[tuple[str, str], set[tuple[str, str]]]:
    """(stage, recipe) -> what it reads, of all recipes that a run ever began."""
    stages = {stage: store.files.names(stage) for stage in store.files.names("")}
    paths = {recipe_path(stage, name): (stage, name) for stage, names in stages.items() for name in names}
    found = store.files.get_many([path for path, (_, name) in paths.items() if "." not in name])
    return {paths[path]: _inputs(path, data) for path, data in found.items()}


def _inputs(path: str, data: bytes) -> set[tuple[str, str]]:
    try:
        return {(name, recipe) for ups in json.loads(data)["inputs"].values() for name, recipe in ups}
    except (ValueError, KeyError) as error:
        raise DamagedError(f"{path} is damaged: what hangs on the quarantined images cannot be known") from error
