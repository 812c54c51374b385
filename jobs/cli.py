"""The `weakbox` command."""

import contextlib
import os
import sys
import traceback
from typing import Any

import click
import structlog

from jobs import foreign, logs, output, stopping, upkeep
from jobs import submit as submitting
from jobs.options import SUBMISSION, set_option, target_argument
from jobs.target import Target, open_target, remember
from pipeline import timeline
from pipeline.errors import Stopped, UsageError, WeakboxError
from pipeline.plan import PlannedStage, make_plan
from pipeline.progress import make_progress
from pipeline.run import Run, RunOptions
from pipeline.runner import InProcessRunner, Runner
from pipeline.verify import verify as verify_store

_LOG = structlog.get_logger("weakbox")

_EXAMPLES = """
\b
Examples:
  weakbox plan jobs/configs/demo.yaml
  weakbox run jobs/configs/demo.yaml --set run_root=s3://bucket/demo
  weakbox run jobs/configs/demo.yaml --only evaluate
  weakbox metrics jobs/configs/demo.yaml --json -
  weakbox export runs/demo --labels boxes_cam --out coco/
  weakbox status runs/demo
  weakbox submit my.yaml --address http://head:8265 --set run_root=s3://bucket/run
  weakbox baselines --metadata metadata/ILSVRC/test
  weakbox score --maps scoremaps/ --metadata metadata/CUB/test --json -

\b
TARGET is a config file, or the root of a run (a path or a URI such as s3://bucket/run).
Exit codes: 0 done, 1 failed, 2 wrong usage, config or input, 3 stopped: the same command continues.
"""


@click.group(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("--log-level", default="info", type=click.Choice(logs.LEVELS), show_default=True)
@click.option("--log-format", default="auto", type=click.Choice(("auto", *logs.FORMS)), show_default=True)
@click.version_option(package_name="weakbox")
@click.pass_context
def cli(context: click.Context, debug: bool, log_level: str, log_format: str) -> None:
    """Boxes and masks from class labels: pseudo labels, localizers trained on them, honest numbers, data sets."""
    context.obj = {"debug": debug}
    logs.configure(log_level, log_format)


@cli.command()
@target_argument
@set_option
@click.option("--json", "json_file", metavar="FILE", help="Write the plan as JSON; - is stdout.")
def plan(target: str, changes: tuple[str, ...], json_file: str | None) -> None:
    """Say for each stage whether it is done or to run, why, and how many shards. Computes nothing."""
    opened = open_target(target, changes)
    planned = make_plan(opened.stages, opened.store)
    rows = [_plan_row(stage) for stage in planned.values()]
    if json_file:
        output.write_json(json_file, rows)
        return
    output.table(("stage", "kind", "state", "shards to run", "shards", "why"), [list(row.values()) for row in rows])


@cli.command()
@target_argument
@set_option
@click.option("--address", metavar="ADDRESS", help="Join this Ray cluster (auto: the one this machine is part of).")
@click.option("--in-process", is_flag=True, help="Run in this process, without Ray.")
@click.option("--only", metavar="STAGE", help="Run this stage alone, on the newest complete inputs.")
@click.option("--force", multiple=True, metavar="STAGE", help="Compute this stage again.")
def run(
    target: str,
    changes: tuple[str, ...],
    address: str | None,
    in_process: bool,
    only: str | None,
    force: tuple[str, ...],
) -> None:
    """Run what is missing, stage by stage. Stopped in any way, the same command goes on where it was."""
    opened = open_target(target, changes)
    if in_process and address:
        raise UsageError("--in-process and --address exclude each other")
    remember(opened)
    submission = os.environ.get(SUBMISSION)
    state: dict[str, Any] = {"state": "running", "exit_code": None, "error": None}
    output.put_json(opened.store, "status.json", {**state, "submission": submission})
    try:
        computed = _execute(opened, address, in_process, RunOptions(only, force, opened.config.max_quarantined))
        state = {"state": "done", "exit_code": 0, "error": None, "computed": computed}
    except BaseException as error:
        code = error.exit_code if isinstance(error, WeakboxError) else 3 if isinstance(error, KeyboardInterrupt) else 1
        state = {"state": "stopped" if code == 3 else "failed", "exit_code": code, "error": str(error)}
        with contextlib.suppress(OSError):  # a full disk has its own error already
            output.put_json(opened.store, "status.json", {**state, "submission": submission})
        raise
    output.put_json(opened.store, "status.json", {**state, "submission": submission})
    report = output.publish_report(opened)
    if not computed:
        _LOG.info("nothing to do: the run is complete", run_root=opened.config.run_root)
    if report:
        _LOG.info("report", path=report)


@cli.command()
@target_argument
@set_option
def status(target: str, changes: tuple[str, ...]) -> None:
    """Show how far each stage is, when it ran, what its workers' time went into, and how the last run ended.

    The bottleneck is the phase (read, decode, forward, post, write) that took most of the workers' time; idle is the
    share that they waited for work.
    """
    opened = open_target(target, changes)
    times = timeline.read(opened.store)
    rows = []
    for stage in make_plan(opened.stages, opened.store).values():
        done = list(stage.done.values())
        rows.append(
            [
                stage.name,
                f"{len(done)}/{len(stage.shards)}",
                sum(entry.ok for entry in done),
                sum(entry.quarantined for entry in done),
                times.get(stage.name, {}).get("started", ""),
                output.short(times.get(stage.name, {}).get("seconds")),
                f"{sum(entry.seconds for entry in done):.1f}",
                timeline.bottleneck(done) or output.training_progress(opened.store, stage),
            ]
        )
    names = ("stage", "shards", "rows", "quarantined", "started", "seconds", "worker seconds", "bottleneck")
    output.table(names, rows)
    last = output.get_json(opened.store, "status.json")
    if last:
        click.echo(f"last run: {last['state']}" + (f": {last['error']}" if last.get("error") else ""))


@cli.command()
@target_argument
@set_option
@click.option("--out", metavar="FILE", help="Copy the report there.")
def report(target: str, changes: tuple[str, ...], out: str | None) -> None:
    """Make the HTML report of a finished run and print where it is."""
    opened = open_target(target, changes)
    name = output.ensure_stage(opened, "report")
    _execute(opened, None, True, RunOptions(only=name, max_quarantined=1.0))
    path = output.publish_report(opened)
    if out:
        output.copy_blobs(opened, name, {"report.html": out})
    click.echo(out or path)


@cli.command()
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
    rows = [row for row in output.metric_rows(opened, show) if split in (None, row["split"])]
    if json_file:
        output.write_json(json_file, rows)
    elif show == "metrics":
        output.metrics_table(rows)
    else:
        output.table(list(rows[0]) if rows else (), [[output.short(value) for value in row.values()] for row in rows])


@cli.command()
@target_argument
@set_option
def verify(target: str, changes: tuple[str, ...]) -> None:
    """Check every committed file of the run against its manifest: presence, checksum, rows, schema, unique ids."""
    opened = open_target(target, changes)
    found = verify_store(opened.store, opened.stages)
    for line in found.damage:
        click.echo(line, err=True)
    click.echo(f"{found.stages} stages, {found.files} files, {found.rows} rows checked: {len(found.damage)} damaged")
    if found.damage:
        raise click.exceptions.Exit(1)


@cli.command()
@target_argument
@set_option
@click.option("--format", "form", default="coco", show_default=True, help="Format of the data set.")
@click.option("--labels", metavar="STAGE", help="Export the pseudo labels of this stage.")
@click.option("--predictions", metavar="STAGE", help="Export the predictions of this stage.")
@click.option("--out", required=True, metavar="FOLDER", help="Where the files go.")
def export(
    target: str, changes: tuple[str, ...], form: str, labels: str | None, predictions: str | None, out: str
) -> None:
    """Write pseudo labels or predictions as a data set that other tools read."""
    opened = open_target(target, changes)
    name = output.export_stage(opened, form, labels, predictions)
    _execute(opened, None, True, RunOptions(only=name, max_quarantined=1.0))
    for path in output.copy_blobs(opened, name, out):
        click.echo(path)


cli.add_command(foreign.baselines)
cli.add_command(foreign.score)
cli.add_command(submitting.submit)
cli.add_command(submitting.jobs)
cli.add_command(upkeep.gc)
cli.add_command(upkeep.retry_quarantine)


def _plan_row(stage: PlannedStage) -> dict[str, Any]:
    missing = len(stage.missing)
    return {
        "stage": stage.name,
        "kind": stage.stage.kind,
        "state": "to run" if missing else "done",
        "to_run": missing,
        "shards": len(stage.shards),
        "why": stage.why,
    }


def _execute(opened: Target, address: str | None, in_process: bool, options: RunOptions) -> dict[str, int]:
    wanted = opened.config.resources

    def make_runner() -> Runner:
        if in_process:
            return InProcessRunner()
        from jobs.ray_session import RaySession

        return RaySession(address, wanted.num_cpus, wanted.placement)

    with stopping.graceful(options.stop, wanted.grace):
        run = Run(opened.stages, opened.store, make_runner, wanted.resources(), make_progress(), options)
        return run.execute()


def main(arguments: list[str] | None = None) -> None:
    """Run the command; every failure is one line on stderr and an exit code."""
    stopping.at_once_on_sigterm()
    debug = "--debug" in (sys.argv[1:] if arguments is None else arguments)
    try:
        code = cli.main(args=arguments, prog_name="weakbox", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        click.echo(f"weakbox: error: {' '.join(error.format_message().split())}", err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("weakbox: stopped; the same command continues", err=True)
        sys.exit(Stopped.exit_code)
    except WeakboxError as error:
        _say(error, debug)
        sys.exit(error.exit_code)
    except Exception as error:
        _say(error, debug)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _say(error: Exception, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    name = "" if isinstance(error, WeakboxError) else f"{type(error).__name__}: "
    click.echo(f"weakbox: error: {name}{' '.join(str(error).split())}", err=True)


if __name__ == "__main__":
    main()
