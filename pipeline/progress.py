"""Progress: on a terminal a bar per stage with rows/s, time left and bad images; elsewhere log lines, seconds apart."""

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import structlog
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

_LOG = structlog.get_logger("weakbox.progress")
_EVERY_SECONDS = 5.0


class Bar(Protocol):
    """Progress of one stage."""

    def advance(self, rows: int, bad: int) -> None:
        """One more shard is done, with so many rows, `bad` of them quarantined."""


class Progress(Protocol):
    """Progress of a run."""

    def stage(self, name: str, shards: int, done: int) -> AbstractContextManager[Bar]:
        """A bar for one stage of `shards` shards, `done` of which were there before."""


def make_progress() -> Progress:
    """Bars where stderr is a terminal, log lines elsewhere."""
    return TerminalProgress() if sys.stderr.isatty() else LogProgress()


class _Count:
    def __init__(self) -> None:
        self.started = time.monotonic()
        self.rows = self.bad = 0

    def add(self, rows: int, bad: int) -> None:
        self.rows += rows
        self.bad += bad

    @property
    def rate(self) -> float:
        return self.rows / max(time.monotonic() - self.started, 1e-9)


class _TerminalBar:
    def __init__(self, progress: RichProgress, task: object, count: _Count) -> None:
        self._progress, self._task, self._count = progress, task, count

    def advance(self, rows: int, bad: int) -> None:
        self._count.add(rows, bad)
        self._progress.update(self._task, advance=1, rate=f"{self._count.rate:,.0f}", bad=self._count.bad)  # type: ignore[arg-type]


class TerminalProgress:
    """One rich bar per stage."""

    @contextmanager
    def stage(self, name: str, shards: int, done: int) -> Iterator[Bar]:
        """A bar that stays on the screen when the stage is done."""
        columns = (
            TextColumn("{task.description:<18}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} shards"),
            TextColumn("{task.fields[rate]} rows/s"),
            TextColumn("{task.fields[bad]} bad"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with RichProgress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task(name, total=shards, completed=done, rate="0", bad=0)
            yield _TerminalBar(progress, task, _Count())


class _LogBar:
    def __init__(self, name: str, shards: int, done: int) -> None:
        self._name, self._shards, self._done = name, shards, done
        self._count = _Count()
        self._last = time.monotonic()

    def advance(self, rows: int, bad: int) -> None:
        self._count.add(rows, bad)
        self._done += 1
        if time.monotonic() - self._last >= _EVERY_SECONDS:
            self._last = time.monotonic()
            self.say("stage runs")

    def say(self, event: str) -> None:
        count = self._count
        _LOG.info(
            event,
            stage=self._name,
            shards=f"{self._done}/{self._shards}",
            rows=count.rows,
            rows_per_s=round(count.rate, 1),
            bad=count.bad,
            seconds=round(time.monotonic() - count.started, 1),
        )


class LogProgress:
    """A line when a stage ends and every few seconds while it runs."""

    @contextmanager
    def stage(self, name: str, shards: int, done: int) -> Iterator[Bar]:
        """Counts one stage."""
        bar = _LogBar(name, shards, done)
        yield bar
        bar.say("stage done")


class NoProgress:
    """Says nothing: for tests and libraries."""

    @contextmanager
    def stage(self, name: str, shards: int, done: int) -> Iterator[Bar]:
        """Counts nothing."""
        yield _Silent()


class _Silent:
    def advance(self, rows: int, bad: int) -> None:
        """Nothing to say."""
