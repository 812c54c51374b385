"""The commands `metrics`, `report` and `export`: what a finished run found. They need no data set."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import structlog

from jobs import output
from jobs.options import set_option, target_argument
from jobs.target import Target, open_target
from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from pipeline.base.suggestions import nearest
from pipeline.config.run_config import make_stage
from pipeline.contract.stage import SourceStage
from pipeline.planning.asked import AskedSets
from pipeline.planning.walk import check_inputs
from pipeline.running.run import RunOptions
from pipeline.store import layout
from pipeline.store.files import Files
from pipeline.store.records import Done
from pipeline.store.store import Store
from stages import catalog

_LOG = structlog.get_logger("weakbox.results")


class NotRun(UsageError):
    """A stage whose result is asked for was not run with this config."""


@click.command()
@target_argument
@set_option
@click.option("--json", "json_file", metavar="FILE", help="Write all rows as JSON; - is stdout.")
@click.option("--split", help="Only this split.")
@click.option(
    "--show",
    type=click.Choice(("metrics", "groups", "comparisons")),
    default="metrics",
    show_default=True,
    help="The metrics; the same by class and by object size; or every two methods against each other (paired test).",
)
def metrics(target: str, changes: tuple[str, ...], json_file: str | None, split: str | None, show: str) -> None:
    """Show the metrics of a finished run: every number with protocol, threshold and how that was chosen."""
    opened = open_target(target, changes)
    _warn_of_other_data(opened)
    rows = [row for row in metric_rows(opened, show) if split in (None, row["split"])]
    if json_file:
        output.write_json(json_file, rows)
    elif show == "metrics":
        output.metrics_table(rows)
    else:
        output.table(list(rows[0]) if rows else (), [[output.short(value) for value in row.values()] for row in rows])


@click.command()
@target_argument
@set_option
@click.option("--out", metavar="FILE", help="Copy the report there.")
def report(target: str, changes: tuple[str, ...], out: str | None) -> None:
    """Make the HTML report of a finished run and print where it is."""
    opened = open_target(target, changes)
    _warn_of_other_data(opened)
    name = _stage_of_kind(opened, "report")
    again = (name,) if _lacks_pictures(opened.store, name) else ()
    opened.execute(None, True, RunOptions(only=name, force=again, max_quarantined=1.0, listing="never"))
    path = publish_report(opened)
    if out:
        _write(out, partial(_write_file, Path(out), _page(opened, name)))
    click.echo(out or path)


@click.command()
@target_argument
@set_option
@click.option(
    "--format",
    "form",
    type=click.Choice(catalog.export_formats()),
    default="coco",
    show_default=True,
    help="Format of the data set.",
)
@click.option("--labels", metavar="STAGE", help="Export the pseudo labels of this stage.")
@click.option("--predictions", metavar="STAGE", help="Export the predictions of this stage.")
@click.option("--out", required=True, metavar="FOLDER", help="Where the files go.")
def export(
    target: str, changes: tuple[str, ...], form: str, labels: str | None, predictions: str | None, out: str
) -> None:
    """Write pseudo labels or predictions as a data set that other tools read."""
    opened = open_target(target, changes)
    name = _export_stage(opened, form, labels, predictions)
    _warn_of_other_data(opened)
    opened.execute(None, True, RunOptions(only=name, max_quarantined=1.0, listing="never"))
    for path in _copy_blobs(opened, name, out):
        output.say(path)


def _lacks_pictures(store: Store, name: str) -> bool:
    """Whether the newest report was made while some pictures could not be read."""
    complete = store.newest_set(name)
    return complete is not None and any(done.quarantined for done in complete.dones.values())


def publish_report(target: Target) -> str | None:
    """Copy the newest report to `<run root>/report.html`; returns its full path, None without a report stage."""
    for name, stage in target.stages.items():
        if stage.kind == "report" and target.store.newest(name) is not None:
            target.store.files.put(layout.REPORT, _page(target, name))
            return f"{target.store.files.root}/{layout.REPORT}"
    return None


def _page(target: Target, name: str) -> bytes:
    """The page that a report stage made last. Raises UsageError where it was not run, DamagedError."""
    for done in _dones(target, name):
        return target.store.blob(done, layout.REPORT)
    raise UsageError(f"{target.config.run_root}: stage {name} was not run with this config; run it first")


def metric_rows(target: Target, table: str = "metrics") -> list[dict[str, Json]]:
    """A table of the evaluate stages, as this config asks for them; undefined values are None.

    Raises: UsageError where one of them was not run with this config.
    """
    rows: list[dict[str, Json]] = []
    names = [name for name, stage in target.stages.items() if "metrics" in stage.outputs]
    asked = AskedSets(target.stages, target.store)
    for name in names:
        for done in dones_asked(target, asked, name):
            rows += target.store.table(done, table).to_pylist()
    if not names:
        raise UsageError("the config has no evaluate stage")
    return [output.finite(row) for row in rows]


def dones_asked(target: Target, asked: AskedSets, name: str) -> list[Done]:
    """The shards of a stage as this config asks for it. Raises NotRun."""
    complete = asked.of(name) or asked.older(name)
    if complete is None:
        raise NotRun(f"{target.config.run_root}: stage {name} was not run with this config; run it first")
    if asked.of(name) is None:
        _LOG.warning("the data set changed since this was made: run again", stage=name)
    return list(complete.dones.values())


def _warn_of_other_data(target: Target) -> None:
    """Say where the data of these results were, if the config names another place: nobody has looked there yet."""
    recipes = check_inputs(target.stages)
    for name, stage in target.stages.items():
        listed = target.store.listed_root(name, recipes[name].id) if isinstance(stage, SourceStage) else None
        if isinstance(stage, SourceStage) and listed not in (None, stage.root):
            _LOG.warning(
                "these results are of the data as listed elsewhere: run first", listed=listed, named=stage.root
            )


def _stage_of_kind(target: Target, kind: str) -> str:
    """The name of the run's stage of this kind. Raises UsageError when the config has none."""
    for name, stage in target.stages.items():
        if stage.kind == kind:
            return name
    raise UsageError(f"the config has no {kind} stage")


def _export_stage(target: Target, form: str, labels: str | None, predictions: str | None) -> str:
    """Add an export stage to the run's stages (or use the config's own); returns its name."""
    if labels is None and predictions is None:
        return _stage_of_kind(target, "export")
    for source in filter(None, (labels, predictions)):
        if source not in target.stages:
            raise UsageError(f"there is no stage {source!r}{nearest(source, target.stages)}")
    name = f"export_{form}_{labels or predictions}"
    entry = {"labels": labels, "predictions": predictions, "format": form}
    stage = make_stage(name, "export", entry, catalog, target.config.images)
    stage.check()
    target.stages[name] = stage
    return name


def _copy_blobs(target: Target, name: str, out: str) -> list[str]:
    """Copy the blobs of a stage's newest result into a folder or URI; no link in it is followed. Returns the paths.

    Raises: UsageError for a folder that cannot be written to.
    """
    files = _folder(out)
    written = []
    for done in _dones(target, name):
        for blob in done.blobs:
            data = target.store.blob(done, blob)
            _write(out, partial(files.put, blob, data))
            written.append(os.path.join(out, blob))
    return written


def _dones(target: Target, name: str) -> list[Done]:
    """The shards of a stage's newest result."""
    complete = target.store.newest_set(name)
    return [] if complete is None else list(complete.dones.values())


def _folder(out: str) -> Files:
    try:
        return Files(out)
    except ValueError as error:
        raise UsageError(f"--out {out}: {error}") from error


def _write_file(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _write(out: str, write: Callable[[], object]) -> None:
    try:
        write()
    except OSError as error:
        raise UsageError(f"--out {out}: {error.strerror or error}") from error
