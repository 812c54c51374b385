"""The order of stages: each after those that it reads, and which trainings may run side by side."""

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

from pipeline.base.errors import UsageError
from pipeline.base.params import input_names, input_tables, upstream_names
from pipeline.base.suggestions import nearest
from pipeline.contract.stage import AnyStage, TrainStage


def topological(stages: Mapping[str, AnyStage]) -> list[str]:
    """Stage names, every stage after those it reads; otherwise in the order given.

    Raises: UsageError for an input that does not exist or gives another table, and for stages that read each other in a
    circle.
    """
    for name in stages:
        _check_inputs(stages, name)
    try:
        sorter = TopologicalSorter({name: upstream_names(stage.params) for name, stage in stages.items()})
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


def training_groups(stages: Mapping[str, AnyStage]) -> list[tuple[str, ...]]:
    """Stage names in topological order, in groups: a training together with all others that could start when it does.

    Every other stage is a group of its own. Raises: UsageError as `topological` does.
    """
    left = topological(stages)
    groups: list[tuple[str, ...]] = []
    done: set[str] = set()
    while left:
        group = [left[0]]
        if _trains(stages[left[0]]):
            group = [name for name in left if _trains(stages[name]) and upstream_names(stages[name].params) <= done]
        groups.append(tuple(group))
        done.update(group)
        left = [name for name in left if name not in done]
    return groups


def _trains(stage: AnyStage) -> bool:
    return isinstance(stage, TrainStage)


def _check_inputs(stages: Mapping[str, AnyStage], name: str) -> None:
    tables = input_tables(type(stages[name].params))
    for slot, sources in input_names(stages[name].params).items():
        for source in sources:
            _check_input(stages, name, slot, tables[slot], source)


def _check_input(stages: Mapping[str, AnyStage], name: str, slot: str, table: str, source: str) -> None:
    if source not in stages:
        raise UsageError(f"stage {name}: {slot}: there is no stage {source!r}{nearest(source, stages)}")
    upstream = stages[source]
    gives = isinstance(upstream, TrainStage) if table == "model" else table in upstream.outputs
    if not gives:
        raise UsageError(f"stage {name}: {slot}: stage {source!r} ({upstream.kind}) gives no {table}")
