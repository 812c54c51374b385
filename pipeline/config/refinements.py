"""`refine: [arm, sgrm]` in the entry of a stage: short for separate stages, each reading the maps of the one before."""

from collections.abc import Collection, Mapping, Sequence

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from pipeline.base.suggestions import nearest

REFINE = "refine"
_MAPS = "maps"
_KIND = "stage"
_SAME = ("images", "model")

Entry = Mapping[str, Json]
"""A stage as written in the config: its parameters, and its kind under `stage`."""


def with_refinements(
    stages: Mapping[str, Entry], refinements: Collection[str], reads: Mapping[str, Collection[str]]
) -> dict[str, Entry]:
    """The stages with every `refine` written out: stage `cam` with ``[arm, sgrm]`` gives `cam_arm` and `cam_arm_sgrm`.

    Each refinement is a kind, or one kind with its parameters. If it reads `images` or a `model` and its parameters do
    not name them, it reads those that the refined stage names.

    refinements: kinds that may be named. reads: the names of the stages that each of them reads.
    Raises: UsageError for an unknown kind, parameters that are no mapping, or a name that another stage has.
    """
    found: dict[str, Entry] = {}
    for name, entry in stages.items():
        found[name] = {key: value for key, value in entry.items() if key != REFINE}
        same = {key: entry[key] for key in _SAME if key in entry}
        before = name
        for kind, params in _steps(name, entry.get(REFINE), refinements):
            own = f"{before}_{kind}"
            if own in stages or own in found:
                raise UsageError(f"stage {name}: {REFINE} makes a stage {own!r}, but there is another of this name")
            inherited = {key: value for key, value in same.items() if key in reads[kind]}
            found[own] = {_KIND: kind, **inherited, **params, _MAPS: before}
            before = own
    return found


def _steps(name: str, said: Json, refinements: Collection[str]) -> list[tuple[str, Mapping[str, Json]]]:
    """(kind, parameters) of each refinement of a stage."""
    if said is None:
        return []
    if isinstance(said, str) or not isinstance(said, Sequence):
        raise UsageError(f"stage {name}: {REFINE} must be a list, e.g. [{', '.join(refinements)}], not {said!r}")
    return [_step(name, item, refinements) for item in said]


def _step(name: str, item: Json, refinements: Collection[str]) -> tuple[str, Mapping[str, Json]]:
    alone = {item: None} if isinstance(item, str) else item
    if not isinstance(alone, Mapping) or len(alone) != 1:
        raise UsageError(f"stage {name}: {REFINE}: expected a kind, or one kind with its parameters, not {item!r}")
    ((kind, params),) = alone.items()
    if kind not in refinements:
        known = f"(known: {', '.join(refinements)})"
        raise UsageError(f"stage {name}: {REFINE}: unknown {kind!r}{nearest(str(kind), refinements)} {known}")
    if not isinstance(params, Mapping | None):
        raise UsageError(f"stage {name}: {REFINE}: {kind}: its parameters must be a mapping, not {params!r}")
    for key in (_KIND, _MAPS):
        if key in (params or {}):
            raise UsageError(f"stage {name}: {REFINE}: {kind}: {key} is given by the list, it cannot be set")
    return kind, params or {}
