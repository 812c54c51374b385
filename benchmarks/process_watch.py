"""What a command and its workers took, stage by stage: processor seconds, and the most memory of driver and worker."""

import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

__all__ = ["Taken", "Watch"]

_STARTS = re.compile(r'event="stage (starts|done)" stage=(\w+)')
_EVERY = 0.5
_OTHER = "between"
"""What is taken outside of any stage: start, planning, the report's copy."""


@dataclass
class Taken:
    """What one stage took. cpu: seconds of all processes. wall: seconds. driver, worker: peak memory of one, bytes."""

    cpu: float = 0.0
    wall: float = 0.0
    driver: int = 0
    worker: int = 0


@dataclass
class Watch:
    """Watches a process and all below it while it runs; its log says which stage it is at.

    A worker's memory is its resident memory without shared pages: those that forked processes share are counted once,
    with the driver.
    """

    process: psutil.Process
    log: Path
    taken: dict[str, Taken] = field(default_factory=dict)
    _used: dict[tuple[int, float], float] = field(default_factory=dict)
    _read: int = 0
    _stage: str = _OTHER
    _ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Watch":
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        before = time.monotonic()
        while not self._ended.wait(_EVERY):
            now = time.monotonic()
            self._sample(now - before)
            before = now

    def _sample(self, seconds: float) -> None:
        taken = self.taken.setdefault(self._stage, Taken())
        taken.wall += seconds
        try:
            below: Sequence[psutil.Process] = self.process.children(recursive=True)
            everyone = [self.process, *below]
        except psutil.NoSuchProcess:
            return
        for process in everyone:
            try:
                times, memory = process.cpu_times(), process.memory_info()
                key = process.pid, process.create_time()
            except psutil.Error:
                continue
            used = times.user + times.system
            taken.cpu += max(0.0, used - self._used.get(key, 0.0))
            self._used[key] = used
            if process.pid == self.process.pid:
                taken.driver = max(taken.driver, memory.rss)
            else:
                taken.worker = max(taken.worker, memory.rss - memory.shared)
        self._stage = self._at()

    def _at(self) -> str:
        """The stage that runs now, by the log."""
        with self.log.open(encoding="utf-8", errors="replace") as file:
            file.seek(self._read)
            text = file.read()
            self._read = file.tell()
        stage = self._stage
        for event, name in _STARTS.findall(text):
            stage = name if event == "starts" else _OTHER
        return stage
