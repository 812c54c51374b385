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

PAUSE = (2.0, 12.0)
"""Seconds for which a process stands still."""

Start = Callable[[], Command]


def signals(kind: str, command: Command) -> bool:
    """The driver is killed (as by the kernel), ended (as by a scheduler) or interrupted (as by a person)."""
    number = {
        "driver_killed": signal.SIGKILL,
        "driver_terminated": signal.SIGTERM,
        "driver_interrupted": signal.SIGINT,
    }[kind]
    if command.process.poll() is not None:
        return False
    command.process.send_signal(number)
    return command.wait(300) != 0


def processes(kind: str, command: Command, chance: random.Random) -> bool:
    """A process that the run started dies, or stands still for a while."""
    name = {
        "actor_killed": "ray::PoolActor",
        "actor_paused": "ray::PoolActor",
        "train_worker_killed": "ray::RayTrainWorker",
        "raylet_killed": "raylet",
    }[kind]
    found = [process for process in command.processes() if _name(process).startswith(name)]
    if not found:
        return False
    victim = chance.choice(sorted(found, key=lambda process: process.pid))
    try:
        if kind == "actor_paused":
            victim.suspend()
            threading.Timer(chance.uniform(*PAUSE), _resume, (victim,)).start()
        else:
            victim.kill()
    except psutil.NoSuchProcess:
        return False
    return True


def storage(kind: str, s3: FlakyS3, chance: random.Random) -> bool:
    """The next requests to the object store go wrong."""
    s3.arm(kind, chance.randint(1, 3))
    return True


def wait_for_driver(command: Command, seconds: float) -> None:
    """Give a driver whose Ray was taken away time to notice; then end it."""
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


def _resume(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.resume()
