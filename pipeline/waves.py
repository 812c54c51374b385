"""What of a run may be computed at the same time: trainings that do not read each other."""

import threading
from collections.abc import Callable, Mapping, Sequence

from pipeline.params import input_names
from pipeline.plan import topological
from pipeline.stage import Stage, TrainStage


def waves(stages: Mapping[str, Stage]) -> list[tuple[str, ...]]:
    """Stage names in the order of `topological`; with a training stand all others that could start when it does.

    Raises: UsageError for stages that read each other in a circle.
    """
    left = topological(stages)
    found: list[tuple[str, ...]] = []
    done: set[str] = set()
    while left:
        wave = [left[0]]
        if _trains(stages[left[0]]):
            wave = [name for name in left if _trains(stages[name]) and _read_by(stages[name]) <= done]
        found.append(tuple(wave))
        done.update(wave)
        left = [name for name in left if name not in done]
    return found


def at_once(works: Sequence[Callable[[], None]]) -> list[Exception]:
    """Do all, each in a thread of its own, and wait for all; returns what they raised, the earliest first."""
    raised: list[Exception] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def _trains(stage: Stage) -> bool:
    return isinstance(stage, TrainStage)


def _read_by(stage: Stage) -> set[str]:
    return {source for sources in input_names(stage.params).values() for source in sources}
