"""Finds failures before any stage computes: by building networks and reading headers, and by the data set's listing."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from pipeline.contract.stage import AnyStage, SourceStage, Stage
from pipeline.planning.graph import topological
from pipeline.planning.plan import PlannedStage
from pipeline.planning.walk import Walk, check_inputs
from pipeline.store.records import Shard
from pipeline.store.store import Store


def unrehearsed(stages: Mapping[str, AnyStage], store: Store) -> frozenset[str]:
    """Names of the stages that have something to rehearse and whose newest set is not of their recipe.

    Raises: UsageError as `check_inputs` does.
    """
    recipes = check_inputs(stages)
    newest = {name: store.newest(name) for name, stage in stages.items() if type(stage).rehearse is not Stage.rehearse}
    return frozenset(name for name, found in newest.items() if found is None or found[0] != recipes[name].id)


def asks_for_packages(stage: AnyStage) -> bool:
    """Whether a stage may need optional packages."""
    return type(stage).check_packages is not Stage.check_packages


def rehearse(stages: Mapping[str, AnyStage], names: Collection[str]) -> None:
    """Call `rehearse` of the stages of these names. Raises UsageError as `check_inputs` and `Stage.rehearse` do."""
    recipes = check_inputs(stages)
    walk = Walk()
    for name in topological(stages):
        if name in names:
            stages[name].rehearse(walk.inputs(stages[name]))
        walk.step(stages[name], recipes[name], ())


def foresee(stages: Mapping[str, AnyStage], new: Iterable[AnyStage], names: Collection[str]) -> None:
    """Ask the stages `new` for their packages, then rehearse those of these names. Raises UsageError."""
    for stage in new:
        stage.check_packages()
    if names:
        rehearse(stages, names)


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
