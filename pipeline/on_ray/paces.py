"""Whether a shard is slow: compared with shards that finished lately, and with those that run beside it."""

import statistics
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Paces", "Running"]

_LATEST, _FEWEST = 16, 3
_SLOWER, _HANGS = 10, 100


class Running(NamedTuple):
    """A shard at work. seconds: since its actor began. rows: of the shard."""

    seconds: float
    rows: int

    @property
    def pace(self) -> float:
        """Seconds a row, so far."""
        return self.seconds / max(1, self.rows)


class Paces:
    """Seconds a row of the last shards that finished. least: seconds before a shard can be slow."""

    def __init__(self, least: float) -> None:
        self._least = least
        self._latest: deque[float] = deque(maxlen=_LATEST)

    def add(self, finished: Running) -> None:
        """A shard finished."""
        self._latest.append(finished.pace)

    def is_slow(self, shard: Running, beside: Iterable[Running]) -> bool:
        """Whether a shard takes ten times as long as the others.

        Where the whole machine became slow, those that run beside it are as late: their pace so far counts as well. A
        hundred times the pace of the finished ones is slow whatever the others do, since all may hang.
        """
        if len(self._latest) < _FEWEST or shard.seconds <= self._least:
            return False
        finished = statistics.median(self._latest)
        now = statistics.median([other.pace for other in beside] or [0.0])
        return shard.pace > _SLOWER * max(finished, now) or shard.pace > _HANGS * finished
