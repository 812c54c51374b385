"""Progress: on a terminal a bar per stage with rows/s, time left and bad images; elsewhere log lines, seconds apart."""

import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import structlog
from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from pipeline.planning.plan import DataListing

_LOG = structlog.get_logger("weakbox.progress")
_EVERY_SECONDS = 5.0


class Bar(Protocol):
    """Progress of one stage."""

    def advance(self, rows: int, bad: int) -> None:
        """One more shard is done, with so many rows, `bad` of them quarantined."""


class Progress(Protocol):
    """Progress of a run."""

    def stage(self, name: str, shards: int, done: int) -> AbstractContextManager[Bar]:
        """A bar for one stage of `shards` shards, `done` of which were committed before."""


def make_progress() -> Progress:
    """Bars where stderr is a terminal, log lines elsewhere."""
    return TerminalProgress() if sys.stderr.isatty() else LogProgress()


def log_training(stage: str, progress: Mapping[str, float]) -> None:
    """A log line of how far a training is."""
    _LOG.info("training", stage=stage, **progress)


def log_listings(listings: Sequence[DataListing]) -> None:
    """A log line for each listing of the data set: how many images, and how long it took."""
    for listed in listings:
        _LOG.info("data set listed", stage=listed.stage, images=listed.images, seconds=round(listed.seconds, 1))


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
    """One rich bar per stage; stages that run at once share the display."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._display: RichProgress | None = None
        self._shown = 0

    @contextmanager
    def stage(self, name: str, shards: int, done: int) -> Iterator[Bar]:
        """A bar that stays on the screen when the stage is done."""
        display = self._opened()
        try:
            task = display.add_task(name, total=shards, completed=done, rate="0", bad=0)
            yield _TerminalBar(display, task, _Count())
        finally:
            self._closed(display)

    def _opened(self) -> RichProgress:
        with self._lock:
            if self._display is None:
                self._display = RichProgress(*_columns(), console=Console(stderr=True))
                self._display.start()
            self._shown += 1
            return self._display

    def _closed(self, display: RichProgress) -> None:
        with self._lock:
            self._shown -= 1
            if not self._shown:
                display.stop()
                self._display = None


def _columns() -> tuple[ProgressColumn, ...]:
    return (
        TextColumn("{task.description:<18}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} shards"),
        TextColumn("{task.fields[rate]} rows/s"),
        TextColumn("{task.fields[bad]} bad"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )


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
