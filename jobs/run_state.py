"""How the newest run of a root ended, and how far its trainings are: small JSON objects for people to look at."""

import json
from typing import Literal, TypedDict

from pipeline.base.json_types import Json
from pipeline.contract.stage import TrainStage
from pipeline.planning.plan import PlannedStage
from pipeline.store import layout
from pipeline.store.layout import RecipeFolder
from pipeline.store.store import Store


class RunState(TypedDict, total=False):
    """computed: shards by stage. submission: id of the job that ran it, where it was submitted."""

    state: Literal["running", "done", "stopped", "failed"]
    exit_code: int | None
    error: str | None
    computed: dict[str, int]
    submission: str | None


def put_state(store: Store, state: RunState) -> None:
    """Write the state of the run to its root, over the one before."""
    store.files.put(layout.STATUS, json.dumps(state, indent=1).encode())


def get_state(store: Store) -> RunState | None:
    """The state of the newest run; None before the first."""
    data = store.files.get_many([layout.STATUS]).get(layout.STATUS)
    if data is None:
        return None
    state: RunState = json.loads(data)
    return state


def training_progress(store: Store, stage: PlannedStage) -> str:
    """How far an unfinished training is, as its workers last said; empty for anything else."""
    if not isinstance(stage.stage, TrainStage):
        return ""
    folder = RecipeFolder(stage.name, stage.recipe.id)
    paths = [folder.progress(shard.key) for shard in stage.missing]
    for data in store.files.get_many(paths).values():
        said: dict[str, float] = json.loads(data)
        return f"epoch {said['epoch']:g} of {said['epochs']:g}, loss {said['loss']:.4g}"
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
