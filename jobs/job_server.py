"""The job server of a Ray cluster: reaching it, following one job, listing those of weakbox."""

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, TypedDict

import click

from jobs.environment import variables
from pipeline.base.errors import Stopped, UsageError, WeakboxError

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

CONFIG = "weakbox_config"
"""Key of a job's metadata: the config that it runs."""

PATIENCE = 300.0
"""Seconds without an answer after which following is given up."""


class JobRow(TypedDict):
    """A job as `weakbox jobs` shows it."""

    submission: str | None
    status: str
    exit_code: int | None
    started: str
    seconds: float
    config: str | None
    entrypoint: str
    message: str


_FOREIGN = re.compile(r"\b(?:weakbox|jobs\.cli)\s+run\s+(\S+)")
_SHORTEST, _LONGEST = 1.0, 10.0


@contextmanager
def client_of(address: str) -> Iterator["JobSubmissionClient"]:
    """A client of the job server at http://HOST:8265; its errors inside the block become one clear line.

    Raises:
        UsageError: nobody answers, something else does, the login is wrong, or the request is (no such job, a
            submission id that was used before, too large a package).
        WeakboxError: the server failed.
    """
    if not address.startswith(("http://", "https://")):
        raise UsageError(f"--address {address}: expected the cluster's dashboard, http://HOST:8265")
    import requests
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    logging.disable(logging.WARNING)  # Ray logs every step of an upload
    try:
        try:
            with variables({"RAY_API_SERVER_ADDRESS": address}):  # this and RAY_ADDRESS win over the argument
                client = JobSubmissionClient(address)
        except (RuntimeError, ValueError, LookupError) as error:
            raise UsageError(f"{address}: no job server of a Ray cluster: {_last_line(str(error))}") from error
        yield client
    except AuthenticationError as error:
        raise UsageError(
            f"{address}: the cluster refused the login: set RAY_AUTH_MODE as the cluster has it, and for `token` "
            "RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH too"
        ) from error
    except (ConnectionError, requests.RequestException) as error:
        raise UsageError(f"{address}: no answer from a Ray cluster: {_last_line(str(error))}") from error
    except RuntimeError as error:
        wrong = re.search("status code 4|already exists|does not exist", str(error))
        raise (UsageError if wrong else WeakboxError)(f"{address}: {_last_line(str(error))}") from error
    finally:
        logging.disable(logging.NOTSET)


def follow(client: "JobSubmissionClient", submission: str) -> "JobDetails":
    """Show a job's log on stderr until the job ends; returns what the server then says of it.

    The log is polled, not streamed, so that a lost connection is only a late answer. The longer an answer takes, the
    less often the log is polled.

    Raises:
        WeakboxError: no answer for PATIENCE seconds. The job may well go on.
    """
    shown, answered = 0, time.monotonic()
    while True:
        asked = time.monotonic()
        try:
            details = client.get_job_info(submission)
            new = _log(client, submission)[shown:]
            answered = time.monotonic()
        except (OSError, RuntimeError) as error:
            if time.monotonic() - answered > PATIENCE:
                raise WeakboxError(
                    f"job {submission}: no answer for {PATIENCE:g} s, it may go on: {_last_line(str(error))}"
                ) from error
        else:
            click.echo(new, err=True, nl=False)
            shown += len(new)
            if details.status.is_terminal():
                return details
        time.sleep(min(_LONGEST, max(_SHORTEST, 10 * (time.monotonic() - asked))))


def exit_code(details: "JobDetails") -> int:
    """The exit code of the command that ran as an ended job: 0, 1, 2 or 3.

    The job server keeps it (`ray job submit` makes 1 of all but 0). A stopped job is 3; one that never started, was
    killed or ended in any other way is 1.
    """
    if details.status == "SUCCEEDED":
        return 0
    if details.status == "STOPPED":
        return Stopped.exit_code
    return details.driver_exit_code if details.driver_exit_code in (1, 2, 3) else 1


def rows(client: "JobSubmissionClient") -> list[JobRow]:
    """The jobs that run weakbox, newest first; those of `ray job submit -- weakbox run` too."""
    jobs = [job for job in client.list_jobs() if job.submission_id and config_of(job)]
    return [_row(job) for job in sorted(jobs, key=lambda job: job.start_time or 0, reverse=True)]


def config_of(job: "JobDetails") -> str | None:
    """The config that a job runs; None for jobs of others."""
    foreign = _FOREIGN.search(job.entrypoint)
    return (job.metadata or {}).get(CONFIG) or (foreign[1] if foreign else None)


def reason(details: "JobDetails") -> str:
    """Why a job has its status, in one line: for a failed job the last line of its log."""
    return _last_line(details.message or "")


def _row(job: "JobDetails") -> JobRow:
    started = (job.start_time or 0) / 1000
    ended = job.end_time / 1000 if job.end_time else time.time()
    return {
        "submission": job.submission_id,
        "status": job.status.value,
        "exit_code": exit_code(job) if job.status.is_terminal() else None,
        "started": datetime.fromtimestamp(started).astimezone().isoformat(timespec="seconds"),
        "seconds": round(ended - started, 1),
        "config": config_of(job),
        "entrypoint": job.entrypoint,
        "message": reason(job),
    }


def _log(client: "JobSubmissionClient", submission: str) -> str:
    """The log so far; empty where the server cannot read it, as when the job's node is gone."""
    try:
        return client.get_job_logs(submission)
    except RuntimeError:
        return ""


def _last_line(text: str) -> str:
    """The last line of a traceback, a log or a message, without Ray's wrapping."""
    return (text.rstrip("\n.").splitlines() or [""])[-1].removeprefix("Request failed with status code ")
