"""The environment of a local Ray: it lives as long as one command on one machine, and nobody else can use it.

Ray reads these variables when it is imported and hands them to its processes, so they are set before. This module
imports no Ray.
"""

import contextlib
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator

from jobs.environment import variables
from pipeline.base.errors import WeakboxError

_ONLY_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"

TUNED = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
}
"""Defaults that the user's environment overrides. Workers run at the niceness of the command, not at Ray's own 15,
which starves them beside anything else that computes. Threads that wait for each other sleep: spinning
made a training with two threads four times slower as soon as another process wanted the processors. glibc keeps freed
memory: giving each feature map back to the kernel and faulting its pages in again was more than half of MobileNetV2's
forward pass (12 instead of 26 to 30 ms an image)."""

_LOOPBACK = {_ONLY_LOOPBACK: "0", "GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
"""All processes listen on 127.0.0.1 only. The first is Ray's switch for it, named after the systems where it is the
default: without it every process listens on all addresses, whatever `ray.init` is told. The others are torch's."""

_NO_METRICS = {"RAY_enable_metrics_collection": "0", "AUTOSCALER_METRIC_PORT": "-1", "DASHBOARD_METRIC_PORT": "-1"}
"""Ray's Prometheus endpoints ask for no token, so a local Ray has none. Two have no switch: they start on no port."""

_OF_CLUSTERS = ("RAY_AUTH_TOKEN_PATH", "RAY_ENABLE_K8S_TOKEN_AUTH")
"""Logins to other clusters, unset while a local Ray runs."""


def private_variables() -> dict[str, str]:
    """Variables that let in only this process and those that it starts: a new token, and loopback alone."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), **_LOOPBACK}


@contextlib.contextmanager
def environment() -> Iterator[str]:
    """Inside, a Ray that starts is private; yields its folder, which only this user can read.

    The token is only in the environment of this process and its children, and gone afterwards. The caller removes the
    folder.

    Raises: WeakboxError where no folder can be made.
    """
    folder = _make_folder()
    tuned = {name: os.environ.get(name, value) for name, value in TUNED.items()}
    try:
        with variables({**tuned, **_NO_METRICS, **private_variables(), "RAY_TMPDIR": folder}, without=_OF_CLUSTERS):
            read_again()
            yield folder
    finally:
        read_again()


def read_again() -> None:
    """Let a Ray that was imported before see the environment as it is now: it reads most of it at its import only."""
    if "ray" not in sys.modules:
        return
    from ray._private import ray_constants
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    ray_constants.ENABLE_RAY_CLUSTER = os.environ.get(_ONLY_LOOPBACK) != "0"
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def cannot_start(why: str, remedy: str) -> WeakboxError:
    """The one line for a Ray that does not start on this machine."""
    return WeakboxError(f"Ray does not start on this machine: {why}: {remedy}; --in-process runs without Ray")


def _make_folder() -> str:
    """A folder of mode 0700 below RAY_TMPDIR, or where temporary files go: Ray opens those of its own to everybody."""
    parent = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    try:
        return tempfile.mkdtemp(prefix="wb-", dir=parent)
    except OSError as error:
        raise cannot_start(f"{parent}: {error.strerror}", "set RAY_TMPDIR to a folder that you can write to") from error
