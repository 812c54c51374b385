"""The kinds of faults, and how each is injected into a running command."""

import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable

import psutil

from benchmarks.chaos.flaky_s3 import FlakyS3
from tests.cluster.mini import Command

PAUSE = 60.0
"""Seconds for which a process is suspended: longer than Ray waits for a heartbeat of its own processes."""

_NAMES: dict[str, str | tuple[str, ...]] = {
    "actor": "ray::PoolActor",
    "train_worker": ("ray::train", "ray::RayTrainWorker"),
    "raylet": "raylet",
    "gcs": "gcs_server",
}

Start = Callable[[], Command]


def signals(kind: str, command: Command) -> bool:
    """Kill (as the kernel does), end (as a scheduler), interrupt (as a user) or pause the driver; False if too late."""
    if command.process.poll() is not None:
        return False
    if kind == "driver_paused":
        return _pause(psutil.Process(command.process.pid))
    number = {
        "driver_killed": signal.SIGKILL,
        "driver_terminated": signal.SIGTERM,
        "driver_interrupted": signal.SIGINT,
    }[kind]
    command.process.send_signal(number)
    return command.wait(300) != 0


def processes(kind: str, command: Command, chance: random.Random) -> bool:
    """Kill or pause a process that the run started; False if there is none."""
    component, _, what = kind.rpartition("_")
    found = [process for process in command.processes() if _name(process).startswith(_NAMES[component])]
    if not found:
        return False
    victim = chance.choice(sorted(found, key=lambda process: process.pid))
    if what == "paused":
        return _pause(victim)
    try:
        victim.kill()
    except psutil.NoSuchProcess:
        return False
    return True


def storage(kind: str, s3: FlakyS3, chance: random.Random) -> bool:
    """Make the next requests to the object store fail."""
    s3.arm(kind, chance.randint(1, 3))
    return True


def wait_for_driver(command: Command, seconds: float) -> None:
    """Give a driver that lost its Ray time to notice; then kill it."""
    deadline = time.monotonic() + seconds
    while command.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.5)
    if command.process.poll() is None:
        command.kill()


def _name(process: psutil.Process) -> str:
    try:
        line = process.cmdline()
    except psutil.Error:
        return ""
    first = line[0] if line else ""
    return first if first.startswith("ray::") else first.rsplit("/", 1)[-1]


def _pause(process: psutil.Process) -> bool:
    try:
        process.suspend()
    except psutil.NoSuchProcess:
        return False
    timer = threading.Timer(PAUSE, _resume, (process,))
    timer.daemon = True
    timer.start()
    return True


def _resume(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.resume()
