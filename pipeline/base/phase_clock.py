"""Where a worker's time goes: seconds by phase."""

import threading
import time
from contextlib import AbstractContextManager, nullcontext

READ, DECODE, FORWARD, POST, WRITE, IDLE = ("read", "decode", "forward", "post", "write", "idle")


class PhaseClock:
    """Adds up the phases of one shard at a time, in the thread that computes it.

    The time of a nested phase is subtracted from the outer one. Threads that decode ahead are not counted: the time
    that the computing thread waits for them counts as decoding.
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

    def timed(self, phase: str) -> AbstractContextManager[None]:
        """Count the time inside the block as this phase."""
        return _NOT_COUNTED if threading.get_ident() != self._owner else _Timed(self, phase)

    def enter(self) -> None:
        """A phase begins."""
        self._inner.append(0.0)

    def leave(self, phase: str, seconds: float) -> None:
        """The innermost phase ends, after so many seconds."""
        self._seconds[phase] = self._seconds.get(phase, 0.0) + seconds - self._inner.pop()
        if self._inner:
            self._inner[-1] += seconds


class _Timed(AbstractContextManager[None]):
    """A phase of the computing thread; workers open one per image, and a class costs a third of a generator."""

    __slots__ = ("_clock", "_phase", "_started")

    def __init__(self, clock: PhaseClock, phase: str) -> None:
        self._clock, self._phase = clock, phase

    def __enter__(self) -> None:
        self._clock.enter()
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._clock.leave(self._phase, time.perf_counter() - self._started)


_NOT_COUNTED = nullcontext()
