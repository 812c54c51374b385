"""The commands `plan` and `status`: where a run stands. Neither computes or writes anything."""

import click

from jobs import output
from jobs.options import set_option, target_argument
from jobs.run_state import plan_row, run_lines, training_progress
from jobs.target import Target, open_target
from pipeline.planning.foresight import check_data, listed, rehearse
from pipeline.planning.plan import PlannedStage, Planner, make_plan
from pipeline.running import timeline
from pipeline.running.progress import log_listings
from pipeline.running.timeline import StageTime


@click.command()
@target_argument
@set_option
@click.option("--json", "json_file", metavar="FILE", help="Write the plan as JSON; - is stdout.")
def plan(target: str, changes: tuple[str, ...], json_file: str | None) -> None:
    """Say for each stage whether it is done or to run, why, and how many shards. Computes nothing.

    What can be known to fail is refused, as a run refuses it: networks, weights, splits that the data set lacks.
    """
    opened = open_target(target, changes)
    rehearse(opened.stages, opened.store)
    planner = Planner(opened.store)
    planned = planner.plan_all(opened.stages)
    check_data(opened.stages, listed(planned))
    rows = [plan_row(stage) for stage in planned.values()]
    log_listings(planner.listings)
    if json_file:
        output.write_json(json_file, rows)
        return
    shown = [["?" if value is None else value for value in row.values()] for row in rows]
    output.table(("stage", "kind", "state", "shards to run", "shards", "why"), shown)


@click.command()
@target_argument
@set_option
def status(target: str, changes: tuple[str, ...]) -> None:
    """Show how far each stage is, when it ran, what its workers' time went into, and how the last run is or ended.

    The bottleneck is the phase (read, decode, forward, post, write) that took most of the workers' time; idle is the
    share that they waited for work. The data set is not looked at: plan does that.
    """
    opened = open_target(target, changes)
    times = timeline.read(opened.store)
    planned = make_plan(opened.stages, opened.store, "never")
    names = ("stage", "shards", "rows", "quarantined", "started", "seconds", "worker seconds", "bottleneck")
    output.table(names, [_status_row(opened, stage, times.get(stage.name)) for stage in planned.values()])
    for line in run_lines(opened.store):
        output.say(line)


def _status_row(opened: Target, stage: PlannedStage, time: StageTime | None) -> list[object]:
    done = list(stage.done.values())
    return [
        stage.name,
        f"{len(done)}/{len(stage.shards) if stage.known else '?'}",
        sum(entry.ok for entry in done),
        sum(entry.quarantined for entry in done),
        time["started"] if time else "",
        output.short(time["seconds"] if time else None),
        f"{sum(entry.seconds for entry in done):.1f}",
        timeline.bottleneck(done) or training_progress(opened.store, stage),
    ]
