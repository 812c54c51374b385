"""Identifies a process, so that another one can later tell whether it still runs."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Process:
    """A process that another one can look for.

    machine: identifies the boot of the machine and the PID namespace, as a container has its own; empty where the
    system does not say (no Linux). started: clock ticks from boot to the process's start, as process ids are reused.
    """

    machine: str
    pid: int
    started: int


def this_process() -> Process:
    """The calling process."""
    return Process(_machine(), os.getpid(), _started(os.getpid()) or 0)


def look_for(process: Process) -> Literal["alive", "gone", "elsewhere"]:
    """Whether the process is alive; `elsewhere` if it is of another machine, or of an earlier boot of this one."""
    if not process.machine or process.machine != _machine():
        return "elsewhere"
    return "alive" if _started(process.pid) == process.started else "gone"


def _machine() -> str:
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> int | None:
    """Clock ticks from boot to the start of a process; None if it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
