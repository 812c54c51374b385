"""Planning: the order of stages, their recipes and shards, what is done, and why the rest is not."""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from pipeline.errors import UsageError
from pipeline.hashing import canonical, fingerprint, set_id
from pipeline.params import input_names, input_tables, numeric
from pipeline.stage import Done, Inputs, Shard, ShardRef, Stage, Task, TrainStage, Upstream
from pipeline.store import Store


@dataclass(frozen=True)
class PlannedStage:
    """One stage with its recipe, shards, what is committed of them, and why the rest is to run."""

    stage: Stage
    recipe: str
    ingredients: Mapping[str, Any]
    shards: Sequence[Shard]
    done: Mapping[str, Done]
    why: str = ""
    stale: bool = field(default=False)

    @property
    def name(self) -> str:
        """The stage's name in the run."""
        return self.stage.name

    @property
    def missing(self) -> list[Shard]:
        """Shards that are not committed, in plan order."""
        return [shard for shard in self.shards if shard.key not in self.done]

    @property
    def upstream(self) -> Upstream:
        """This stage as those below it see it."""
        return Upstream(self.name, self.stage.kind, self.recipe, self.shards, self.ingredients)

    @property
    def keys(self) -> list[str]:
        """The keys of all shards."""
        return [shard.key for shard in self.shards]


def make_plan(stages: Mapping[str, Stage], store: Store) -> dict[str, PlannedStage]:
    """Plan every stage in topological order. Reads manifests only; writes nothing.

    Raises:
        UsageError: an input that does not exist, is of the wrong kind, or a circle of stages.
    """
    planned: dict[str, PlannedStage] = {}
    for name in topological(stages):
        stage = stages[name]
        inputs = {
            slot: tuple(planned[source].upstream for source in sources)
            for slot, sources in input_names(stage.params).items()
        }
        planned[name] = plan_stage(stage, inputs, store)
    return planned


def plan_stage(stage: Stage, inputs: Inputs, store: Store) -> PlannedStage:
    """Plan one stage on given inputs."""
    ingredients = recipe_of(stage, inputs)
    recipe = fingerprint(ingredients)
    shards = stage.plan(recipe, inputs, store)
    done = store.done(stage.name, recipe, [shard.key for shard in shards])
    why = "" if len(done) == len(shards) else _why(stage.name, recipe, ingredients, shards, done, store)
    return PlannedStage(stage, recipe, ingredients, shards, done, why)


def recipe_of(stage: Stage, inputs: Inputs) -> dict[str, Any]:
    """Everything that changes a stage's results, as JSON-like data; its fingerprint is the recipe."""
    return {
        "kind": stage.kind,
        "version": stage.version,
        "params": json.loads(canonical(numeric(stage.params))),
        "inputs": {slot: [[up.name, up.recipe] for up in ups] for slot, ups in inputs.items() if ups},
        **stage.ingredients(),
    }


def topological(stages: Mapping[str, Stage]) -> list[str]:
    """Stage names, every stage after those it reads; otherwise in the order given. Raises UsageError."""
    graph: dict[str, set[str]] = {}
    for name, stage in stages.items():
        tables = input_tables(type(stage.params))
        for slot, sources in input_names(stage.params).items():
            for source in sources:
                _check_input(stages, name, slot, tables[slot], source)
        graph[name] = {source for sources in input_names(stage.params).values() for source in sources}
    try:
        sorter = TopologicalSorter(graph)
        sorter.prepare()
    except CycleError as error:
        raise UsageError(f"stages read each other in a circle: {' -> '.join(error.args[1])}") from error
    position = {name: i for i, name in enumerate(stages)}
    order: list[str] = []
    ready = sorted(sorter.get_ready(), key=position.__getitem__)
    while ready:
        name = ready.pop(0)
        order.append(name)
        sorter.done(name)
        ready = sorted([*ready, *sorter.get_ready()], key=position.__getitem__)
    return order


def _check_input(stages: Mapping[str, Stage], name: str, slot: str, table: str, source: str) -> None:
    if source not in stages:
        raise UsageError(f"stage {name}: {slot}: there is no stage {source!r}{nearest(source, stages)}")
    upstream = stages[source]
    gives = isinstance(upstream, TrainStage) if table == "model" else table in upstream.outputs
    if not gives:
        raise UsageError(f"stage {name}: {slot}: stage {source!r} ({upstream.kind}) gives no {table}")


def nearest(word: str, known: Any) -> str:
    """`; did you mean 'x'?` for the nearest known word, or an empty text."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def resolve(shard: Shard, planned: Mapping[str, Mapping[str, Done]]) -> Task:
    """A shard with its inputs replaced by their manifests; `planned`: stage -> key -> Done."""
    return Task(shard, {slot: tuple(_done(ref, planned) for ref in refs) for slot, refs in shard.inputs.items()})


def _done(ref: ShardRef, planned: Mapping[str, Mapping[str, Done]]) -> Done:
    return planned[ref.stage][ref.key]


def recipe_path(stage: str, recipe: str) -> str:
    """Where a recipe's ingredients are kept, to explain later changes."""
    return f"{stage}/{recipe}/recipe.json"


def _why(
    stage: str,
    recipe: str,
    ingredients: Mapping[str, Any],
    shards: Sequence[Shard],
    done: Mapping[str, Done],
    store: Store,
) -> str:
    newest = store.newest(stage)
    if newest is None or newest[0] == recipe:
        if done:
            return f"{len(shards) - len(done)} of {len(shards)} shards are missing"
        return "its inputs grew" if newest and newest[1] != set_id(s.key for s in shards) else "never completed"
    try:
        before = json.loads(store.files.get(recipe_path(stage, newest[0])))
    except FileNotFoundError:
        return "another recipe"
    return "; ".join(_differences(before, ingredients)) or "another recipe"


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    said = []
    if before["kind"] != now["kind"]:
        said.append(f"kind {before['kind']} -> {now['kind']}")
    if before["version"] != now["version"]:
        said.append(f"code version {before['version']} -> {now['version']}")
    old, new = before["params"], now["params"]
    changed = (key for key in sorted({*old, *new}) if old.get(key) != new.get(key) or (key in old) != (key in new))
    said += [f"{key}: {old.get(key)!r} -> {new.get(key)!r}" for key in changed]
    slots = sorted({*before["inputs"], *now["inputs"]})
    for slot in slots:
        was, is_ = before["inputs"].get(slot, []), now["inputs"].get(slot, [])
        if was != is_:
            names = ", ".join(sorted({name for name, recipe in is_ if [name, recipe] not in was})) or "removed"
            said.append(f"input {slot} changed ({names})")
    other = sorted(({*before, *now}) - {"kind", "version", "params", "inputs"})
    said += [f"{key} changed" for key in other if before.get(key) != now.get(key)]
    return said
