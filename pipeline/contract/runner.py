"""The interface of a runner, which computes the shards of one stage."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.base.stop_signal import StopSignal
from pipeline.contract.resources import StageResources
from pipeline.contract.stage import AnyStage
from pipeline.store.records import Done, Task
from pipeline.store.store import Store

OnDone = Callable[[Done], None]


@dataclass(frozen=True)
class Job:
    """The shards of one stage that are to be computed, and where. recipe: its id. roots: as in `LocalContext`."""

    stage: AnyStage
    recipe: str
    tasks: Sequence[Task]
    store: Store
    resources: StageResources
    stop: StopSignal = field(default_factory=StopSignal)
    roots: Mapping[str, str] = field(default_factory=dict)


class Runner(Protocol):
    """Runs the shards of a stage; calls `on_done` for each committed shard, in any order."""

    def run(self, job: Job, on_done: OnDone) -> None:
        """Compute and commit every task. Raises StageFailed when a shard gives up, Stopped when `job.stop` is set."""

    def call_apart(self, check: Callable[[], None], stop: StopSignal) -> None:
        """Call a check, outside of this process if the runner can: what it loads then takes no memory here.

        Raises what the check raises, and Stopped when `stop` is set.
        """

    def close(self) -> None:
        """Release what it holds."""


def trains_side_by_side(runner: Runner) -> bool:
    """Whether trainings may be given to a runner from several threads at once, to share its machines."""
    return bool(getattr(runner, "side_by_side", False))
