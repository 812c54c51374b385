"""The command `reproduce`: a paper's tables beside what a run of its config found."""

from collections.abc import Sequence

import click

from jobs import output
from jobs.options import set_option
from jobs.reported import Ours, Printed, compared, reported_of
from jobs.results import NotRun, metric_rows
from jobs.target import open_target
from pipeline.base.json_types import Json

_HARMLESS = ("run_root=", "resources.", "dataset.root=")
_COLUMNS = ("table", "row", "metric", "paper", "ours", "low", "high", "difference", "this row is made by")


@click.command()
@click.argument("config")
@set_option
@click.option("--json", "json_file", metavar="FILE", help="Write all rows as JSON; - is stdout.")
def reproduce(config: str, changes: tuple[str, ...], json_file: str | None) -> None:
    """Show the tables that a config of jobs/configs/papers reproduces: the paper's numbers and the run's own.

    Our numbers have their 95 % interval. A row that needs other changes of the config names them; give the same changes
    here and to `weakbox run`.
    """
    printed = reported_of(config)
    _say_others(printed, changes)
    try:
        rows = metric_rows(open_target(config, changes))
    except NotRun as error:
        output.say(f"weakbox: {error}", err=True)
        rows = []
    found = [_row(number, ours) for number, ours in compared(printed, rows, changes)]
    if json_file:
        output.write_json(json_file, found)
    else:
        output.table(_COLUMNS, [[output.short(row[name]) for name in _COLUMNS] for row in found])


def _say_others(printed: Sequence[Printed], changes: Sequence[str]) -> None:
    """Name the changes that no row of the paper has, besides those of places and resources."""
    known = {change for number in printed for change in number.sets}
    others = [f"--set {change}" for change in changes if change not in known and not change.startswith(_HARMLESS)]
    if others:
        output.say(f"weakbox: not the paper's: {' '.join(others)}", err=True)


def _row(printed: Printed, ours: Ours | None) -> dict[str, Json]:
    """A line of the table."""
    iou = "" if printed.iou is None else f"@{printed.iou:g}"
    value = None if ours is None else ours.value
    return {
        "table": printed.table,
        "row": printed.row,
        "metric": f"{printed.metric}{iou}{' (error)' if printed.errors else ''}",
        "paper": printed.value,
        "ours": value,
        "low": None if ours is None else ours.low,
        "high": None if ours is None else ours.high,
        "difference": None if value is None else value - printed.value,
        "this row is made by": " ".join(f"--set {change}" for change in printed.sets) or "the config as it is",
    }
