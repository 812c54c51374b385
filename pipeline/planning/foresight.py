"""Finds failures before any stage computes: by building networks and reading headers, and by the data set's listing."""

from collections.abc import Collection, Mapping, Sequence

from pipeline.contract.stage import AnyStage, SourceStage
from pipeline.planning.graph import topological
from pipeline.planning.plan import PlannedStage
from pipeline.planning.walk import Walk, check_inputs
from pipeline.store.records import Shard
from pipeline.store.store import Store


def rehearse(stages: Mapping[str, AnyStage], store: Store | None, leave_out: Collection[str] = ()) -> None:
    """Call `rehearse` of every stage whose newest set is not of its recipe; without a store, of every stage.

    leave_out: names of stages that cannot rehearse here. Raises: UsageError as `check_inputs` and `Stage.rehearse` do.
    """
    recipes = check_inputs(stages)
    walk = Walk()
    for name in topological(stages):
        stage, recipe = stages[name], recipes[name]
        newest = None if store is None else store.newest(name)
        if name not in leave_out and (newest is None or newest[0] != recipe.id):
            stage.rehearse(walk.inputs(stage))
        walk.step(stage, recipe, ())


def check_data(stages: Mapping[str, AnyStage], sources: Mapping[str, Sequence[Shard]]) -> None:
    """Call `check_data` of every stage that reads none but listed data sets.

    sources: the shards of the stages that list them, by name. Raises: UsageError as `Stage.check_data` does.
    """
    walk = Walk()
    for name in topological(stages):
        stage = stages[name]
        known = name in sources if isinstance(stage, SourceStage) else walk.has_inputs_of(stage)
        if not known:
            continue
        recipe = walk.recipe(stage)
        if name not in sources:
            stage.check_data(walk.inputs(stage))
        walk.step(stage, recipe, sources[name] if name in sources else walk.plan(stage, recipe))


def listed(planned: Mapping[str, PlannedStage]) -> dict[str, Sequence[Shard]]:
    """Source stage -> its shards, for the sources of a plan that were ever listed."""
    return {name: each.shards for name, each in planned.items() if isinstance(each.stage, SourceStage) and each.known}
