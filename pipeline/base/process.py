"""Whether a process of this machine is still the one that it was."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Process:
    """A process that another one can look for.

    machine: names this boot of the machine and its table of processes, for a container has its own; empty where the
    system does not say (no Linux). started: clock ticks from that boot to its start, for numbers are given again.
    """

    machine: str
    pid: int
    started: int


def this_process() -> Process:
    """The process that asks."""
    return Process(_machine(), os.getpid(), _started(os.getpid()) or 0)


def look_for(process: Process) -> Literal["alive", "gone", "elsewhere"]:
    """Whether it lives; `elsewhere` for one of another machine, or of this one before it was started again."""
    if not process.machine or process.machine != _machine():
        return "elsewhere"
    return "alive" if _started(process.pid) == process.started else "gone"


def _machine() -> str:
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> int | None:
    """None for one that is gone, or only waits for its parent to ask how it ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
