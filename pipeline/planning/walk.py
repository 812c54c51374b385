"""The one way through a run: from upstream to downstream, each stage on what was said of those that it reads.

Planning, running, checking, forgetting and collecting garbage all walk so; they differ in what they say of a stage:
its planned shards, those that it has just computed, those of its newest set, or none.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipeline.base.hashing import canonical
from pipeline.base.params import input_names, numeric, upstream_names
from pipeline.contract.stage import AnyStage, SourceStage
from pipeline.planning.graph import topological
from pipeline.store.records import CompleteSet, Inputs, Recipe, Shard, Upstream
from pipeline.store.store import Store


class Walk:
    """What the stages passed so far look like to their downstream stages."""

    def __init__(self) -> None:
        self.passed: dict[str, Upstream] = {}

    def has_inputs_of(self, stage: AnyStage) -> bool:
        """Whether all stages that it reads were passed."""
        return upstream_names(stage.params) <= self.passed.keys()

    def inputs(self, stage: AnyStage) -> Inputs:
        """The stages that it reads, by slot."""
        names = input_names(stage.params)
        return {slot: tuple(self.passed[source] for source in sources) for slot, sources in names.items()}

    def recipe(self, stage: AnyStage) -> Recipe:
        """What the stage's recipe is made of on these inputs."""
        inputs = {slot: tuple((up.name, up.recipe.id) for up in ups) for slot, ups in self.inputs(stage).items() if ups}
        files = stage.files()
        counted = {name: value for name, value in numeric(stage.params).items() if name not in files}
        params = json.loads(canonical(counted))
        return Recipe(stage.kind, stage.version, params, inputs, stage.ingredients())

    def plan(self, stage: AnyStage, recipe: Recipe) -> list[Shard]:
        """The stage's shards on these inputs. Raises UsageError for inputs that do not fit each other."""
        inputs = self.inputs(stage)
        stage.check_inputs(inputs)
        return stage.plan(recipe.id, inputs)

    def step(self, stage: AnyStage, recipe: Recipe, shards: Sequence[Shard]) -> Upstream:
        """Pass a stage that looks so."""
        self.passed[stage.name] = Upstream(stage.name, recipe, shards, self.inputs(stage), stage.title)
        return self.passed[stage.name]

    def step_on_set(self, stage: AnyStage, complete: CompleteSet, store: Store) -> Upstream | None:
        """Pass a stage that looks as its complete set says; None where the set's recipe was not kept."""
        recipe = store.recipe(stage.name, complete.recipe)
        if recipe is None:
            return None
        shards = complete.shards
        if isinstance(stage, SourceStage):  # a set keeps what its first listing said of annotations
            args = {shard.key: shard.args for shard in store.listing(stage.name, recipe.id) or ()}
            shards = [replace(shard, args=args.get(shard.key, shard.args)) for shard in shards]
        self.passed[stage.name] = Upstream(stage.name, recipe, shards, ancestry(store, recipe), stage.title)
        return self.passed[stage.name]


def check_inputs(stages: Mapping[str, AnyStage]) -> dict[str, Recipe]:
    """Let every stage judge its inputs by their recipes alone: before a data set is listed or anything is computed.

    Returns: the recipes, stage -> recipe, which need no data. Raises: UsageError as `topological` and
    `Stage.check_inputs` do.
    """
    walk = Walk()
    for name in topological(stages):
        stage = stages[name]
        stage.check_inputs(walk.inputs(stage))
        walk.step(stage, walk.recipe(stage), ())
    return {name: upstream.recipe for name, upstream in walk.passed.items()}


def ancestry(store: Store, recipe: Recipe) -> Inputs:
    """The stages that a recipe reads as the store knows them, themselves with their inputs, all without shards."""
    found: dict[tuple[str, str], Upstream] = {}

    def read(made: Recipe) -> Inputs:
        return {
            slot: tuple(up for up in (upstream(*pair) for pair in pairs) if up is not None)
            for slot, pairs in made.inputs.items()
        }

    def upstream(stage: str, recipe_id: str) -> Upstream | None:
        if (stage, recipe_id) not in found:
            made = store.recipe(stage, recipe_id)
            if made is None:
                return None
            found[stage, recipe_id] = Upstream(stage, made, (), read(made))
        return found[stage, recipe_id]

    return read(recipe)
