"""The commands `plan` and `status`: where a run stands. Neither computes or writes anything."""

from collections.abc import Mapping

import click

from jobs import output
from jobs.estimates import Estimate, estimates, said, short
from jobs.options import set_option, target_argument
from jobs.run_state import plan_row, run_lines, training_progress
from jobs.target import Target, open_target
from pipeline.base.json_types import Json
from pipeline.planning.foresight import check_data, listed, rehearse, unrehearsed
from pipeline.planning.plan import PlannedStage, Planner, make_plan
from pipeline.running import timeline
from pipeline.running.progress import log_listings
from pipeline.running.timeline import StageTime


@click.command()
@target_argument
@set_option
@click.option("--json", "json_file", metavar="FILE", help="Write the plan as JSON; - is stdout.")
def plan(target: str, changes: tuple[str, ...], json_file: str | None) -> None:
    """Say for each stage whether it is done or to run, why, how many shards, and about how long. Computes nothing.

    Failures that can be foreseen are refused, as by a run: networks, weights, splits that the data set lacks.
    """
    opened = open_target(target, changes)
    planned = planned_stages(opened)
    found = estimates(planned, opened.store, opened.config.resources.resources())
    rows = plan_rows(planned, found)
    if json_file:
        output.write_json(json_file, rows)
        return
    names = ("stage", "kind", "state", "to_run", "shards", "why")
    shown = [
        [*("?" if row[name] is None else row[name] for name in names), short(found.get(name))]
        for name, row in zip(planned, rows, strict=True)
    ]
    output.table(("stage", "kind", "state", "shards to run", "shards", "why", "workers, about"), shown)
    if found:
        output.say(said(found))


@click.command()
@target_argument
@set_option
def status(target: str, changes: tuple[str, ...]) -> None:
    """Show how far each stage is, when it ran, what its workers' time went into, and the state of the last run.

    The bottleneck is the phase (read, decode, forward, post, write) that took most of the workers' time; idle is the
    share that they waited for work. The data set is not listed: plan does that.
    """
    opened = open_target(target, changes)
    names = ("stage", "shards", "rows", "quarantined", "started", "seconds", "worker seconds", "bottleneck")
    output.table(names, [_shown(row) for row in status_rows(opened)])
    for line in run_lines(opened.store):
        output.say(line)


def planned_stages(opened: Target) -> dict[str, PlannedStage]:
    """The plan of a run. Raises: UsageError for failures that can be foreseen."""
    rehearse(opened.stages, unrehearsed(opened.stages, opened.store))
    planner = Planner(opened.store)
    planned = planner.plan_all(opened.stages)
    check_data(opened.stages, listed(planned))
    log_listings(planner.listings)
    return planned


def plan_rows(planned: Mapping[str, PlannedStage], found: Mapping[str, Estimate]) -> list[dict[str, Json]]:
    """What `plan` shows, a row a stage; worker_seconds and whether they were measured here are null where unknown."""
    rows = []
    for name, stage in planned.items():
        about = found.get(name)
        seconds, measured = (None, None) if about is None else (about.worker_seconds, about.measured)
        rows.append({**plan_row(stage), "worker_seconds": seconds, "measured": measured})
    return rows


def status_rows(opened: Target) -> list[dict[str, Json]]:
    """What `status` shows, a row a stage; null: shards where the data set was never listed, unknown times."""
    times = timeline.read(opened.store)
    planned = make_plan(opened.stages, opened.store, "never")
    return [_status_row(opened, stage, times.get(stage.name)) for stage in planned.values()]


def _status_row(opened: Target, stage: PlannedStage, time: StageTime | None) -> dict[str, Json]:
    done = list(stage.done.values())
    return {
        "stage": stage.name,
        "done": len(done),
        "shards": len(stage.shards) if stage.known else None,
        "rows": sum(entry.ok for entry in done),
        "quarantined": sum(entry.quarantined for entry in done),
        "started": time["started"] if time else None,
        "seconds": time["seconds"] if time else None,
        "worker_seconds": sum(entry.seconds for entry in done),
        "bottleneck": timeline.bottleneck(done) or training_progress(opened.store, stage),
    }


def _shown(row: Mapping[str, Json]) -> list[object]:
    shards = "?" if row["shards"] is None else row["shards"]
    times = (row["started"] or "", output.short(row["seconds"]), f"{row['worker_seconds']:.1f}")
    return [row["stage"], f"{row['done']}/{shards}", row["rows"], row["quarantined"], *times, row["bottleneck"]]
