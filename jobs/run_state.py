"""The state of a root's runs and trainings, as text for people."""

import click

from pipeline.base.json_types import Json
from pipeline.contract.stage import TrainStage
from pipeline.planning.plan import PlannedStage
from pipeline.store import run_records
from pipeline.store.encoding import read_progress
from pipeline.store.layout import RecipeFolder
from pipeline.store.run_records import Seen
from pipeline.store.store import DamagedError, Store


def run_lines(store: Store) -> list[str]:
    """The state of the newest run, other runs that are active or silent, and damaged records, a line each."""
    seen, damaged = run_records.runs(store)
    lines = [f"last run: {_said(run)}" for run in seen[:1]]
    lines += [f"another run: {_said(run)}" for run in seen[1:] if run.life in ("alive", "silent")]
    return lines + [f"{path} is damaged: nothing is known of that run" for path in damaged]


def warn_of_live_runs(store: Store) -> None:
    """Warn on stderr of active runs, before a command that is unsafe beside them."""
    for record in run_records.live_runs(store):
        where = f"pid {record.process.pid} on {record.host}, since {record.started}"
        click.echo(f"weakbox: warning: a run is at work here ({where}): it may lose what it does now", err=True)


def training_progress(store: Store, stage: PlannedStage) -> str:
    """How far an unfinished training is, as its workers last said; empty for anything else. Raises DamagedError."""
    if not isinstance(stage.stage, TrainStage):
        return ""
    folder = RecipeFolder(stage.name, stage.recipe.id)
    for shard in stage.missing:
        try:
            said = store.read(folder.progress(shard.key), read_progress)
        except DamagedError as error:
            return f"{error.path} is damaged"
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


def _said(run: Seen) -> str:
    record = run.record
    if run.life == "ended":
        return record.state + (f": {record.error}" if record.error else "")
    process = f"pid {record.process.pid} on {record.host}"
    if run.life == "alive":
        return f"running (last seen {_duration(run.silence)} ago, {process})"
    died = "died" if run.life == "dead" else "died?"
    return f"{died} (last seen {record.last_seen}, {_duration(run.silence)} ago, {process})"


def _duration(seconds: float) -> str:
    """A time for people: seconds up to two minutes, then minutes, hours and days."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
