"""What is wrong with a run root: the notes that verification takes and repair reads."""

from dataclasses import dataclass, field

from pipeline.store.records import Done
from pipeline.store.store import DamagedError


@dataclass(frozen=True)
class Damage:
    """What is wrong with a run root. path: of the object; empty where several objects contradict each other.

    done: the shard that the file belongs to, if it belongs to one.
    """

    stage: str
    path: str
    words: str
    done: Done | None = None

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.stage, " ".join(filter(None, (self.path, self.words))))))


@dataclass
class Verified:
    """How much was checked, and each damage."""

    stages: int = 0
    files: int = 0
    rows: int = 0
    damage: list[Damage] = field(default_factory=list)

    def add(self, stage: str, error: DamagedError) -> None:
        """Note a damaged object."""
        self.damage.append(Damage(stage, error.path, error.words))
