"""What a stage may take of the machines. Never hashed: it must not change results."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

SAVE_MINUTES = 10.0


@dataclass(frozen=True)
class StageResources:
    """Pool of one stage. `actors`: None takes as many as fit; a training uses it as its number of workers.

    gpus: fractions share a GPU. memory: bytes. custom: Ray's custom resources. labels: Ray node labels that a node must
    have, label -> value. save_minutes: minutes between checkpoints inside an epoch of a training; each epoch ends with
    one too. micro_batch: the most images that a worker of a training puts through the network at once; gradients of
    several micro batches add up to its share of the step. None: its whole share at once.
    """

    actors: int | None = None
    cpus: float = 1
    gpus: float = 0
    memory: int | None = None
    custom: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    save_minutes: float = SAVE_MINUTES
    micro_batch: int | None = None

    def shape(self) -> "StageResources":
        """What one actor takes, whatever their number."""
        return replace(self, actors=None)

    def needs(self) -> dict[str, float]:
        """What one actor takes of Ray's resources, by Ray's names; only what is more than nothing."""
        named = {"CPU": self.cpus, "GPU": self.gpus, "memory": float(self.memory or 0), **self.custom}
        return {name: need for name, need in named.items() if need > 0}


@dataclass(frozen=True)
class Resources:
    """Resources of a run: those of ordinary stages, those of trainings, and per stage what differs."""

    default: StageResources = field(default_factory=StageResources)
    train: StageResources = field(default_factory=lambda: StageResources(actors=1, cpus=1))
    stages: dict[str, StageResources] = field(default_factory=dict)

    def of(self, name: str, *, train: bool, light: bool) -> StageResources:
        """The resources of the stage called `name`."""
        if name in self.stages:
            return self.stages[name]
        if train:
            return self.train
        return replace(self.default, actors=1, gpus=0) if light else self.default
