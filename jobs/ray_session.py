"""Starting or joining Ray for one command."""

import contextlib
import logging
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import structlog

from jobs import local_ray
from pipeline.base.errors import UsageError
from pipeline.base.stop_signal import StopSignal
from pipeline.contract.runner import Job, OnDone, Runner

_LOG = structlog.get_logger("weakbox.ray")
_ANSWER_SECONDS = 10.0
_QUIET: dict[str, Any] = {"logging_level": logging.WARNING, "log_to_driver": False}


class RaySession:
    """A RayRunner with its cluster: joins `address`, or starts a local Ray that ends with the command.

    A local Ray never joins a cluster that happens to run on the machine, and nobody else can join it: see
    `jobs.local_ray`. placement: seconds to wait for a node that a stage's actors fit on; a local Ray never waits.

    Raises:
        WeakboxError: a local Ray does not start.
        UsageError: there is no cluster at `address`, or it refuses us.
    """

    side_by_side = True

    def __init__(self, address: str | None, num_cpus: int | None, placement: float = 0.0) -> None:
        with contextlib.ExitStack() as opened:
            if not _is_up():
                opened.enter_context(_local(num_cpus) if address is None else _joined(address))
            self._runner: Runner = _make_runner(placement if address else 0.0)
            self._opened = opened.pop_all()

    def run(self, job: Job, on_done: OnDone) -> None:
        """Run one stage."""
        self._runner.run(job, on_done)

    def call_apart(self, check: Callable[[], None], stop: StopSignal) -> None:
        """Call a check in a process of the cluster, on this node."""
        self._runner.call_apart(check, stop)

    def close(self) -> None:
        """End the pool, and Ray itself if it was started here."""
        with self._opened:
            self._runner.close()


def _is_up() -> bool:
    """Whether this process is part of a Ray already; asks without importing it."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


def _make_runner(placement: float) -> Runner:
    from pipeline.on_ray.runner import RayRunner

    return RayRunner(placement)


@contextlib.contextmanager
def _local(num_cpus: int | None) -> Iterator[None]:
    """A Ray of our own. Its folder stays where Ray's processes did not start: it holds their logs."""
    with local_ray.environment() as folder:
        import ray

        try:
            with _own_sigterm():
                ray.init(address="local", num_cpus=num_cpus, include_dashboard=False, **_QUIET)
        except OSError as error:  # found before any process was started
            shutil.rmtree(folder, ignore_errors=True)
            raise local_ray.cannot_start(str(error), "set RAY_TMPDIR to a short path on a disk with room") from error
        except Exception as error:
            remedy = f"its logs are in {folder}/ray; free memory, or raise the limits of processes and open files"
            raise local_ray.cannot_start(_first_sentence(error), remedy) from error
        try:
            _LOG.info("ray is up", cpus=ray.cluster_resources().get("CPU"), address="local")
            yield
        finally:
            ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _joined(address: str) -> Iterator[None]:
    """A driver of somebody's cluster, with the login that the environment holds."""
    _check_answers(address)
    local_ray.read_again()
    import ray

    try:
        with _own_sigterm():
            ray.init(address=address, **_QUIET)
    except (ConnectionError, RuntimeError) as error:
        raise UsageError(
            f"--address {address}: no Ray cluster answers, or it refuses the login (RAY_AUTH_MODE, RAY_AUTH_TOKEN):"
            f" {_first_sentence(error)}"
        ) from error
    try:
        _LOG.info("ray is up", cpus=ray.cluster_resources().get("CPU"), address=address)
        yield
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raise UsageError for HOST:PORT or ray://HOST:PORT where nobody listens: Ray would try for many minutes."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UsageError(f"--address {address}: nobody answers there: {error}") from error


def _first_sentence(error: BaseException) -> str:
    """What went wrong, without the traceback that some of Ray's messages carry."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line.partition(". ")[0].rstrip(".")


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep our SIGTERM handler: ray.init() puts its own there, which ends the command with another exit code."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as stopped:
        raise KeyboardInterrupt from stopped
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
