"""Two arms measured in turns, so that a machine that grows slower or busier slows both."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

REPEATS = 5


@dataclass(frozen=True)
class Pairs:
    """What both arms measured, pair by pair, in the order of time."""

    candidate: Sequence[float]
    baseline: Sequence[float]

    @property
    def ratio(self) -> float:
        """Median over the pairs of candidate / baseline."""
        return statistics.median(a / b for a, b in zip(self.candidate, self.baseline, strict=True))

    @property
    def medians(self) -> tuple[float, float]:
        """Median of the candidate and of the baseline."""
        return statistics.median(self.candidate), statistics.median(self.baseline)


def interleaved(candidate: Callable[[], float], baseline: Callable[[], float], repeats: int = REPEATS) -> Pairs:
    """Measure both arms `repeats` times in turns; which of them goes first alternates.

    Each arm measures itself and returns its number (not the time of its call). Warm both up before.
    """
    first, second = [], []
    for repeat in range(repeats):
        if repeat % 2:
            second.append(baseline())
            first.append(candidate())
        else:
            first.append(candidate())
            second.append(baseline())
    return Pairs(first, second)
