"""What the processes of a training on Ray hand on to each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from pipeline.base.params import Parameters
from pipeline.contract.resources import StageResources
from pipeline.contract.stage import TrainStage
from pipeline.store.layout import RecipeFolder
from pipeline.store.records import Task
from pipeline.store.store import Store


@dataclass(frozen=True)
class TrainingJob:
    """What each worker computes, and with what. roots: source stage -> where its data set is now."""

    stage: TrainStage[Parameters]
    recipe: str
    task: Task
    store: Store
    resources: StageResources
    roots: Mapping[str, str]

    failures: ClassVar[int] = 3
    """How often a training goes on from its checkpoint after a worker was lost or failed."""

    @property
    def threads(self) -> int:
        """Threads of a worker."""
        return max(1, int(self.resources.cpus))

    @property
    def folder(self) -> RecipeFolder:
        """Where the run root keeps what this training writes."""
        return RecipeFolder(self.stage.name, self.recipe)

    @property
    def key(self) -> str:
        """The key of the shard that is trained."""
        return self.task.shard.key
