"""The walk over the stages of a run, from upstream to downstream, that gives each stage its inputs and its recipe.

Planning, running, checking, forgetting and collecting garbage all use it; they differ in the shards that a stage has
for its downstream stages: the planned ones, those just computed, those of its newest set, or none.
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
    """The stages passed so far, as their downstream stages see them."""

    def __init__(self) -> None:
        self.passed: dict[str, Upstream] = {}

    def has_inputs_of(self, stage: AnyStage) -> bool:
        """Whether all stages that this stage reads were passed."""
        return upstream_names(stage.params) <= self.passed.keys()

    def inputs(self, stage: AnyStage) -> Inputs:
        """The stages that this stage reads, by input slot."""
        names = input_names(stage.params)
        return {slot: tuple(self.passed[source] for source in sources) for slot, sources in names.items()}

    def recipe(self, stage: AnyStage) -> Recipe:
        """The stage's recipe, on its inputs as passed."""
        inputs = {slot: tuple((up.name, up.recipe.id) for up in ups) for slot, ups in self.inputs(stage).items() if ups}
        files = stage.files()
        counted = {name: value for name, value in numeric(stage.params).items() if name not in files}
        params = json.loads(canonical(counted))
        return Recipe(stage.kind, stage.version, params, inputs, stage.ingredients())

    def plan(self, stage: AnyStage, recipe: Recipe) -> list[Shard]:
        """The stage's shards, on its inputs as passed. Raises UsageError for inputs that do not fit each other."""
        inputs = self.inputs(stage)
        stage.check_inputs(inputs)
        return stage.plan(recipe.id, inputs)

    def step(self, stage: AnyStage, recipe: Recipe, shards: Sequence[Shard]) -> Upstream:
        """Pass a stage with this recipe and these shards."""
        self.passed[stage.name] = Upstream(stage.name, recipe, shards, self.inputs(stage), stage.title)
        return self.passed[stage.name]

    def step_on_set(self, stage: AnyStage, complete: CompleteSet, store: Store) -> Upstream | None:
        """Pass a stage with the shards of a complete set; None where the set's recipe was not kept."""
        recipe = store.recipe(stage.name, complete.recipe)
        if recipe is None:
            return None
        shards = complete.shards
        if isinstance(stage, SourceStage):  # those of the set are of its first listing, whose annotations may be old
            args = {shard.key: shard.args for shard in store.listing(stage.name, recipe.id) or ()}
            shards = [replace(shard, args=args.get(shard.key, shard.args)) for shard in shards]
        self.passed[stage.name] = Upstream(stage.name, recipe, shards, ancestry(store, recipe), stage.title)
        return self.passed[stage.name]


def check_inputs(stages: Mapping[str, AnyStage]) -> dict[str, Recipe]:
    """Call `check_inputs` of every stage with recipes alone, before a data set is listed or anything is computed.

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
    """The stages that a recipe reads, by the recipes in the store, with their own inputs, all without shards."""
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
