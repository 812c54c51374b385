"""The commands `metrics` and `report`: what a finished run found. They need no data set."""

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
from pipeline.contract.stage import SourceStage
from pipeline.planning.asked import AskedSets
from pipeline.planning.walk import check_inputs
from pipeline.running.run import RunOptions
from pipeline.store import layout
from pipeline.store.records import Done
from pipeline.store.store import Store

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
    warn_of_other_data(opened)
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
    click.echo(make_report(open_target(target, changes), out))


def make_report(target: Target, out: str | None = None) -> str:
    """Make the report of a finished run, copied to `out` if that is given; returns its path. Raises UsageError."""
    warn_of_other_data(target)
    name = stage_of_kind(target, "report")
    again = (name,) if _lacks_pictures(target.store, name) else ()
    target.execute(None, True, RunOptions(only=name, force=again, max_quarantined=1.0, listing="never"))
    path = publish_report(target)
    if out:
        _write(out, partial(_write_file, Path(out), _page(target, name)))
    return out or str(path)


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


def warn_of_other_data(target: Target) -> None:
    """Warn if the config names another place of the data than the one these results were made from."""
    recipes = check_inputs(target.stages)
    for name, stage in target.stages.items():
        listed = target.store.listed_root(name, recipes[name].id) if isinstance(stage, SourceStage) else None
        if isinstance(stage, SourceStage) and listed not in (None, stage.root):
            _LOG.warning(
                "these results are of the data as listed elsewhere: run first", listed=listed, named=stage.root
            )


def stage_of_kind(target: Target, kind: str) -> str:
    """The name of the run's stage of this kind. Raises UsageError when the config has none."""
    for name, stage in target.stages.items():
        if stage.kind == kind:
            return name
    raise UsageError(f"the config has no {kind} stage")


def _dones(target: Target, name: str) -> list[Done]:
    """The shards of a stage's newest result."""
    complete = target.store.newest_set(name)
    return [] if complete is None else list(complete.dones.values())


def _write_file(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _write(out: str, write: Callable[[], object]) -> None:
    try:
        write()
    except OSError as error:
        raise UsageError(f"--out {out}: {error.strerror or error}") from error
