"""What a weakbox command costs: processor seconds and peak memory of its process, start and imports included.

`python -m benchmarks.command_cost VERB ...` is that process: it runs the command and prints its own peak memory at the
end, because the peak that a parent is told of its child may be the parent's.
"""

import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_ROOT = Path(__file__).parent.parent
_PEAK = "VmHWM"


class Cost(NamedTuple):
    """cpu: user and system seconds. memory: peak resident bytes. said: what the command printed."""

    cpu: float
    memory: int
    said: str


def command_cost(*arguments: str, environment: Mapping[str, str] | None = None) -> Cost:
    """Run a command of weakbox. Raises CalledProcessError if it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.command_cost", *arguments],
        cwd=_ROOT,
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    said, _, peak = done.stdout.rpartition(_PEAK)
    return Cost(cpu, int(peak), said)


def _peak_memory() -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        (line,) = (line for line in file if line.startswith(_PEAK))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    from jobs.cli import cli

    cli(sys.argv[1:], standalone_mode=False)
    print(f"{_PEAK}{_peak_memory()}")
