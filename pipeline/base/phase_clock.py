"""Where a worker's time goes: seconds by phase."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

READ, DECODE, FORWARD, POST, WRITE, IDLE = ("read", "decode", "forward", "post", "write", "idle")


class PhaseClock:
    """Adds up the phases of one shard at a time, in the thread that computes it.

    A phase inside another is taken out of the outer one. Threads that decode ahead are not counted: what the computing
    thread waits for them is its decoding.
    """

    def __init__(self) -> None:
        self._owner: int | None = None
        self._started = 0.0
        self._seconds: dict[str, float] = {}
        self._inner: list[float] = []

    def begin(self) -> None:
        """Start a shard in this thread."""
        self._owner = threading.get_ident()
        self._seconds, self._inner = {}, []
        self._started = time.perf_counter()

    def end(self) -> dict[str, float]:
        """Seconds by phase since `begin`; `post` is what no other phase took."""
        whole = time.perf_counter() - self._started
        self._owner = None
        return {**self._seconds, POST: max(0.0, whole - sum(self._seconds.values()))}

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Charge the time inside to a phase."""
        if threading.get_ident() != self._owner:
            yield
            return
        started = time.perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            whole = time.perf_counter() - started
            inner = self._inner.pop()
            self._seconds[phase] = self._seconds.get(phase, 0.0) + whole - inner
            if self._inner:
                self._inner[-1] += whole
