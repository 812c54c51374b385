"""Processor time that this process has spent on checksums of what it read, to report what the checks cost."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class CheckClock:
    """Adds up the processor seconds of all threads. Read it before and after some work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds = 0.0

    @property
    def seconds(self) -> float:
        """Processor seconds so far."""
        return self._seconds

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Add this thread's processor time inside the block."""
        started = time.thread_time()
        try:
            yield
        finally:
            passed = time.thread_time() - started
            with self._lock:
                self._seconds += passed


CHECKS = CheckClock()
"""The clock of this process."""
