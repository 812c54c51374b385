"""The `weakbox` command, and its subcommand `run`."""

import sys
import traceback

import click
import structlog

from jobs import (
    backbones,
    doctor,
    export,
    foreign,
    init,
    inspection,
    label,
    logs,
    maps,
    output,
    recorded,
    reproduce,
    results,
    review,
    soundness,
    stage_kinds,
    stopping,
    submit,
    upkeep,
    verdict,
)
from jobs.options import set_option, target_argument
from jobs.target import open_target
from pipeline.base.credentials import redacted
from pipeline.base.errors import Stopped, UsageError, WeakboxError

_LOG = structlog.get_logger("weakbox")

_EXAMPLES = """
\b
Examples:
  weakbox label photographs/ --out dataset/ --format yolo
  weakbox init folder --out my.yaml
  weakbox doctor my.yaml
  weakbox plan my.yaml
  weakbox run my.yaml --set run_root=s3://bucket/demo
  weakbox run my.yaml --only evaluate
  weakbox metrics my.yaml --json -
  weakbox reproduce jobs/configs/papers/psol_cub.yaml
  weakbox export runs/demo --labels boxes_cam --out coco/
  weakbox status runs/demo
  weakbox submit my.yaml --address http://head:8265 --set run_root=s3://bucket/run
  weakbox backbones timm:convnext_tiny
  weakbox baselines --metadata metadata/ILSVRC/test
  weakbox maps my.yaml cam --out scoremaps/ --split test
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
def cli(debug: bool, log_level: str, log_format: str) -> None:
    """Boxes and masks from class labels: pseudo labels, localizers trained on them, honest numbers, data sets."""
    logs.configure(log_level, log_format)


@cli.command()
@target_argument
@set_option
@click.option("--address", metavar="ADDRESS", help="Join this Ray cluster (auto: the one this machine is part of).")
@click.option("--in-process", is_flag=True, help="Run in this process, without Ray.")
@click.option("--only", metavar="STAGE", help="Run this stage alone, on the newest complete inputs.")
@click.option("--force", multiple=True, metavar="STAGE", help="Compute this stage again.")
@click.option("--strict", is_flag=True, help="Exit with 1 where the labels carry no information (stage quality).")
def run(
    target: str,
    changes: tuple[str, ...],
    address: str | None,
    in_process: bool,
    only: str | None,
    force: tuple[str, ...],
    strict: bool,
) -> None:
    """Run what is missing, stage by stage. If it is stopped in any way, the same command goes on where it was."""
    opened = open_target(target, changes)
    if in_process and address:
        raise UsageError("--in-process and --address exclude each other")
    computed = recorded.execute(opened, target, address, in_process=in_process, only=only, force=force)
    report = results.publish_report(opened)
    if not computed:
        _LOG.info("nothing to do: the run is complete", run_root=opened.config.run_root)
    if report:
        _LOG.info("report", path=report)
    if strict:
        verdict.check_strict(opened)


for _command in (
    inspection.plan,
    inspection.status,
    soundness.verify,
    results.metrics,
    reproduce.reproduce,
    results.report,
    review.review,
    export.export,
    label.label,
    maps.maps,
    foreign.baselines,
    foreign.score,
    init.init,
    stage_kinds.stages,
    backbones.backbones,
    doctor.doctor,
    submit.submit,
    submit.jobs,
    upkeep.gc,
    upkeep.retry_quarantine,
):
    cli.add_command(_command)


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
        output.say(f"weakbox: error: {' '.join(error.format_message().split())}", err=True)
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
    output.say(f"weakbox: error: {name}{redacted(' '.join(str(error).split()))}", err=True)


if __name__ == "__main__":
    main()
