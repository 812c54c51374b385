"""Signals: SIGTERM asks a run to end within its grace period, as on spot instances; Ctrl-C ends it at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pipeline.base.stop_signal import StopSignal


def at_once_on_sigterm() -> None:
    """SIGTERM ends the command as Ctrl-C does: outside of runs there is nothing to finish."""
    signal.signal(signal.SIGTERM, _interrupt)


@contextmanager
def graceful(stop: StopSignal, grace: float) -> Iterator[None]:
    """Inside, SIGTERM sets `stop`; when `grace` seconds have passed, or at a second SIGTERM, it ends the command."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_sigterm(number: int, frame: FrameType | None) -> None:
        if stop.requested or grace <= 0:
            raise KeyboardInterrupt
        stop.request()
        signal.setitimer(signal.ITIMER_REAL, grace)

    before = signal.signal(signal.SIGTERM, on_sigterm), signal.signal(signal.SIGALRM, _interrupt)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGALRM, before[1])


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
