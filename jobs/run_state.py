"""How the newest run of a root ended, and how far its trainings are: small JSON objects for people to look at."""

from collections.abc import Mapping
from typing import Literal, TypedDict, get_args

from pipeline.base.json_types import Json
from pipeline.contract.stage import TrainStage
from pipeline.planning.plan import PlannedStage
from pipeline.store import layout
from pipeline.store.encoding import read_progress
from pipeline.store.layout import RecipeFolder
from pipeline.store.store import Store

State = Literal["running", "done", "stopped", "failed"]
_STATES: tuple[State, ...] = get_args(State)


class RunState(TypedDict, total=False):
    """computed: shards by stage. submission: id of the job that ran it, where it was submitted."""

    state: State
    exit_code: int | None
    error: str | None
    computed: dict[str, int]
    submission: str | None


def put_state(store: Store, state: RunState) -> None:
    """Write the state of the run to its root, over the one before."""
    store.write(layout.STATUS, state)


def get_state(store: Store) -> RunState | None:
    """The state of the newest run; None before the first. Raises DamagedError."""
    return store.read(layout.STATUS, read_state)


def read_state(said: Mapping[str, Json]) -> RunState:
    """What people see of a state: how the run ended, and why. Raises ValueError for anything else."""
    state = next((known for known in _STATES if known == said.get("state")), None)
    error = said.get("error")
    if state is None or not isinstance(error, str | None):
        raise ValueError("it is no state of a run")
    return {"state": state, "error": error}


def training_progress(store: Store, stage: PlannedStage) -> str:
    """How far an unfinished training is, as its workers last said; empty for anything else. Raises DamagedError."""
    if not isinstance(stage.stage, TrainStage):
        return ""
    folder = RecipeFolder(stage.name, stage.recipe.id)
    for shard in stage.missing:
        said = store.read(folder.progress(shard.key), read_progress)
        if said is not None:
            loss = f", loss {said['loss']:.4g}" if "loss" in said else ""
            return f"epoch {said['epoch']:g} of {said['epochs']:g}{loss}"
    return ""


def plan_row(stage: PlannedStage) -> dict[str, Json]:
    """A stage as `plan` shows it; null where the data set was never listed."""
    missing = len(stage.missing)
    return {
        "stage": stage.name,
        "kind": stage.stage.kind,
        "state": "to run" if missing or not stage.known else "done",
        "to_run": missing if stage.known else None,
        "shards": len(stage.shards) if stage.known else None,
        "why": stage.why,
    }
