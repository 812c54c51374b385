"""The commands `submit` and `jobs`: `weakbox run` as a job of a Ray cluster, from a machine that is no part of it."""

import json
import os
import re
import shlex
import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
import structlog

from jobs import job_server, output, upload
from jobs.environment import variables
from jobs.options import SUBMISSION, set_option
from jobs.target import open_store
from pipeline.base.errors import Stopped, UsageError
from pipeline.config.places import absolute
from pipeline.config.run_config import RunConfig, load_config
from pipeline.planning.foresight import rehearse
from pipeline.store import uploads
from stages import catalog

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

_LOG = structlog.get_logger("weakbox.submit")
_VARIABLE = re.compile(r"([A-Za-z_]\w*)(?:=(.*))?", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_COLUMNS = ("submission", "status", "exit code", "started", "duration", "config", "message")

_STOP_SECONDS = 30
"""After its grace period a stopped run has this long to leave the cluster and say so in its run root. Ray's own 3 s,
grace included, are too few."""

address_option = click.option(
    "--address",
    required=True,
    metavar="URL",
    envvar="RAY_API_SERVER_ADDRESS",
    help="Dashboard of the cluster, http://HOST:8265; or RAY_API_SERVER_ADDRESS.",
)


@click.command()
@click.argument("config")
@address_option
@set_option
@click.option("--only", metavar="STAGE", help="Run this stage alone, on the newest complete inputs.")
@click.option("--force", multiple=True, metavar="STAGE", help="Compute this stage again.")
@click.option(
    "--env",
    "assignments",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Variable of the job and its workers; without a value, as it is here.",
)
@click.option(
    "--working-dir",
    metavar="DIR",
    help="Checkout of weakbox to upload and run, with CONFIG in it.  [default: the current folder, if it is one]",
)
@click.option("--submission-id", metavar="ID", help="Name of the job, unique on the cluster.")
@click.option("--detach", is_flag=True, help="Do not wait for the job.")
def submit(
    config: str,
    address: str,
    changes: tuple[str, ...],
    only: str | None,
    force: tuple[str, ...],
    assignments: tuple[str, ...],
    working_dir: str | None,
    submission_id: str | None,
    detach: bool,
) -> None:
    """Run CONFIG on a Ray cluster: upload it, follow the log, exit with the run's own code.

    Only the submission id goes to stdout. The job runs the cluster's weakbox, with the first `python` on the job's
    PATH: --env 'PATH=/opt/venv/bin:${PATH}' names another. In a checkout of weakbox, the whole folder is uploaded and
    its weakbox runs. Weights files of this machine are copied to the run root. A relative run_root or dataset.root is
    relative to the current folder, which the cluster must see: a URI is better. Ctrl-C detaches, the job goes on.
    """
    environment = parse_variables(assignments)
    settled = _load(config, changes, environment)
    check(settled)
    name = submission_id or f"weakbox-{re.sub(r'[^A-Za-z0-9_-]+', '_', Path(config).stem)}-{uuid.uuid4().hex[:8]}"
    if not _NAME.fullmatch(name):
        raise UsageError(f"--submission-id {name!r}: expected letters, digits, dots, - and _")
    with upload.packaged(config, working_dir) as package, job_server.client_of(address) as client:
        client.submit_job(
            entrypoint=entrypoint(package, (*changes, *places(settled), *weights(settled)), only, force),
            submission_id=name,
            metadata={job_server.CONFIG: package.config},
            runtime_env={
                "working_dir": str(package.folder),
                "excludes": list(upload.EXCLUDES),
                "env_vars": {
                    SUBMISSION: name,
                    "RAY_JOB_STOP_WAIT_TIME_S": str(round(settled.resources.grace + _STOP_SECONDS)),
                    **environment,
                },
            },
        )
        _LOG.info("submitted", job=name, run_root=settled.run_root)
        click.echo(name)
        code = 0 if detach else _follow(client, address, name)
    raise click.exceptions.Exit(code)


@click.command()
@address_option
@click.option("--json", "json_file", metavar="FILE", help="Write the jobs as JSON; - is stdout.")
@click.option("--logs", metavar="ID", help="Print the log of this job instead.")
@click.option("--follow", metavar="ID", help="Follow this job and exit as it does, like submit.")
@click.option("--stop", metavar="ID", help="Stop this job; the same submission continues the run.")
def jobs(address: str, json_file: str | None, logs: str | None, follow: str | None, stop: str | None) -> None:
    """Show the weakbox jobs of a cluster, newest first; or read, follow or stop one of them."""
    if sum(option is not None for option in (json_file, logs, follow, stop)) > 1:
        raise UsageError("jobs: --json, --logs, --follow and --stop exclude each other")
    code, rows = 0, None
    with job_server.client_of(address) as client:
        if logs:
            click.echo(client.get_job_logs(logs), nl=False)
        elif follow:
            client.get_job_info(follow)  # an unknown job is an error at once
            code = _follow(client, address, follow)
        elif stop:
            click.echo(f"{stop}: {'stopping' if client.stop_job(stop) else 'was not running'}")
        else:
            rows = job_server.rows(client)
    if rows is not None:
        _show(rows, json_file)
    raise click.exceptions.Exit(code)


def entrypoint(package: upload.Package, changes: Sequence[str], only: str | None, force: Sequence[str]) -> str:
    """The shell command of the job. A module, not the console script: an image without weakbox has only the upload.

    -P keeps the uploaded folder from hiding the installed weakbox, unless it is a source that was uploaded to be run.
    """
    words = ["python", *([] if package.is_source else ["-P"]), "-m", "jobs.cli"]
    words += ["run", package.config, "--address", "auto"]
    words += [word for change in changes for word in ("--set", change)]
    words += ["--only", only] if only else []
    words += [word for stage in force for word in ("--force", stage)]
    return shlex.join(words)


def places(config: RunConfig) -> list[str]:
    """`--set` changes that say where run and data are: relative places would be lost with the job's own folder."""
    root = config.dataset.get("root")
    return [_change("run_root", config.run_root)] + ([_change("dataset.root", root)] if root else [])


def check(config: RunConfig) -> None:
    """Refuse what would fail on any cluster: stages that do not fit each other, networks, weights of this machine.

    Weights elsewhere, which the cluster may see, are left to the run. Raises: UsageError.
    """
    stages = config.stage_objects(catalog)
    rehearse(stages, [name for name, stage in stages.items() if all(map(_is_reachable, stage.files().values()))])


def _is_reachable(file: str) -> bool:
    """Whether a file that a stage names is on this machine, or at a URI."""
    return "://" in file or os.path.isfile(absolute(file))


def weights(config: RunConfig) -> list[str]:
    """Copy the files of this machine that stages name to the run root; returns `--set` changes that name the copies.

    Raises: UsageError for a bad stage, or a run root that cannot be opened.
    """
    changes = []
    for name, stage in config.stage_objects(catalog).items():
        for parameter, file in stage.files().items():
            path = absolute(file)
            if os.path.isfile(path):
                place = uploads.put(open_store(config.run_root).files, path)
                changes.append(_change(f"stages.{name}.{parameter}", place))
                _LOG.info("copied", file=file, to=place)
            elif path != file:  # a folder, which is not copied: the cluster may see it at the same place
                changes.append(_change(f"stages.{name}.{parameter}", path))
    return changes


def _change(path: str, value: str) -> str:
    return f"{path}={json.dumps(value, ensure_ascii=False)}"


def parse_variables(assignments: Sequence[str]) -> dict[str, str]:
    """Variables from NAME=VALUE, or NAME for the value it has here. Raises UsageError for any other text."""
    found = {}
    for text in assignments:
        match = _VARIABLE.fullmatch(text)
        if match is None:
            raise UsageError(f"--env {text!r}: expected NAME=VALUE or NAME")
        value = os.environ.get(match[1]) if match[2] is None else match[2]
        if value is None:
            raise UsageError(f"--env {text}: the environment here has no variable {text}")
        found[match[1]] = value
    return found


def _load(config: str, changes: Sequence[str], environment: Mapping[str, str]) -> RunConfig:
    """The config as read on this machine. Raises UsageError, so that a bad config is refused before it is submitted."""
    with variables(environment):
        return load_config(config, changes)


def _follow(client: "JobSubmissionClient", address: str, name: str) -> int:
    """Follow a job to its end; returns its exit code. Ctrl-C leaves the job alone."""
    try:
        details = job_server.follow(client, name)
    except KeyboardInterrupt:
        command = f"weakbox jobs --address {address}"
        again = f"look again: {command} --follow {name}; stop it: {command} --stop {name}"
        click.echo(f"weakbox: detached, the job goes on; {again}", err=True)
        return Stopped.exit_code
    code = job_server.exit_code(details)
    _LOG.info("job ended", job=name, status=details.status.value, exit_code=code, message=job_server.reason(details))
    return code


def _show(rows: list[job_server.JobRow], json_file: str | None) -> None:
    if json_file:
        output.write_json(json_file, [output.finite(row) for row in rows])
        return
    shown = [
        [
            row["submission"],
            row["status"],
            row["exit_code"],
            row["started"],
            timedelta(seconds=round(row["seconds"])),
            row["config"],
            row["message"],
        ]
        for row in rows
    ]
    output.table(_COLUMNS, shown)
