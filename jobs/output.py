"""What the command shows and copies: tables, JSON, reports, exported files."""

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from jobs.target import Target
from pipeline.errors import UsageError
from pipeline.plan import PlannedStage, nearest
from pipeline.stage import TrainStage
from pipeline.store import Store
from pipeline.trainer import progress_path

REPORT = "report.html"
_WIDE = 200


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table on stdout; wide where stdout is no terminal, so that lines stay whole."""
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*("" if value is None else str(value) for value in row))
    Console(width=None if sys.stdout.isatty() else _WIDE).print(shown)


def write_json(path: str, rows: Any) -> None:
    """JSON to a file, or to stdout for `-`."""
    text = json.dumps(rows, indent=1, allow_nan=False)
    if path == "-":
        click.echo(text)
        return
    with open(path, "w", encoding="utf-8") as file:
        file.write(text + "\n")


def put_json(store: Store, path: str, value: Any) -> None:
    """A small JSON object in the run root."""
    store.files.put(path, json.dumps(value, indent=1).encode())


def get_json(store: Store, path: str) -> Any:
    """A small JSON object of the run root, or None."""
    try:
        return json.loads(store.files.get(path))
    except FileNotFoundError:
        return None


def training_progress(store: Store, stage: PlannedStage) -> str:
    """How far an unfinished training is, as its workers last said; empty for anything else."""
    if not isinstance(stage.stage, TrainStage):
        return ""
    for shard in stage.missing:
        said = get_json(store, progress_path(stage.name, stage.recipe, shard.key))
        if said:
            return f"epoch {said['epoch']:g} of {said['epochs']:g}, loss {said['loss']:.4g}"
    return ""


def short(value: Any) -> str:
    """A value in a table: numbers with two decimals."""
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def metric_rows(target: Target, table: str = "metrics") -> list[dict[str, Any]]:
    """A table of the run's evaluate stages; undefined values are None. Raises UsageError when none is complete."""
    rows: list[dict[str, Any]] = []
    complete_stages = 0
    for name, stage in target.stages.items():
        if "metrics" not in stage.outputs:
            continue
        newest = target.store.newest(name)
        complete = target.store.complete_set(name, *newest) if newest else None
        for done in (complete or {}).values():
            rows += target.store.table(done, table).to_pylist()
            complete_stages += 1
    if not complete_stages:
        raise UsageError(f"{target.config.run_root}: no evaluate stage is complete; run it first")
    return [finite(row) for row in rows]


def finite(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose undefined numbers are None, as JSON needs them."""
    return {key: None if _undefined(value) else value for key, value in row.items()}


def metrics_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows of metrics as a table."""
    numbers = ("value", "ci_low", "ci_high", "n", "threshold")
    names = ("split", "method", "source", "metric", "iou", *numbers, "threshold_choice", "protocol")
    table(names, [[short(row[name]) for name in names] for row in rows])


def ensure_stage(target: Target, kind: str) -> str:
    """The name of the run's stage of this kind. Raises UsageError when the config has none."""
    for name, stage in target.stages.items():
        if stage.kind == kind:
            return name
    raise UsageError(f"the config has no {kind} stage")


def export_stage(target: Target, form: str, labels: str | None, predictions: str | None) -> str:
    """Add an export stage to the run's stages (or use the config's own); returns its name."""
    if labels is None and predictions is None:
        return ensure_stage(target, "export")
    for source in filter(None, (labels, predictions)):
        if source not in target.stages:
            raise UsageError(f"there is no stage {source!r}{nearest(source, target.stages)}")
    from stages import catalog

    name = f"export_{form}_{labels or predictions}"
    params = catalog.params_type("export")(labels=labels, predictions=predictions, format=form)
    stage = catalog.create("export", name, params)
    stage.check()
    target.stages[name] = stage
    return name


def copy_blobs(target: Target, name: str, out: str | Mapping[str, str]) -> list[str]:
    """Copy the blobs of a stage's newest result into a folder, or to named files. Returns the paths."""
    newest = target.store.newest(name)
    complete = (target.store.complete_set(name, *newest) if newest else None) or {}
    written = []
    for done in complete.values():
        for blob in done.blobs:
            path = os.path.join(out, blob) if isinstance(out, str) else out[blob]
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
            with open(path, "wb") as file:
                file.write(target.store.blob(done, blob))
            written.append(path)
    return written


def publish_report(target: Target) -> str | None:
    """Copy the newest report to `<run root>/report.html`; returns its full path, None without a report stage."""
    for name, stage in target.stages.items():
        newest = target.store.newest(name) if stage.kind == "report" else None
        for done in ((target.store.complete_set(name, *newest) if newest else None) or {}).values():
            target.store.files.put(REPORT, target.store.blob(done, REPORT))
            return f"{target.store.files.root}/{REPORT}"
    return None


def _undefined(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
