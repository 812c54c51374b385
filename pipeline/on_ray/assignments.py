"""Units of work for actors: whole shards, and the parts of a shard that killed its workers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ray import ObjectRef

from pipeline.contract.stage import AnyStage
from pipeline.on_ray.actor import Actor, Result
from pipeline.store.records import ShardResult, Task, quarantined
from pipeline.store.store import Store
from schemas import TABLES

ATTEMPTS = 3
"""How often a shard may fail with an error, how often one that cannot be divided may kill its worker, and how often a
single image must have killed its worker before it is held responsible."""
DEATHS_BEFORE_DIVIDING = 2
PARTS = 8
KILLER = "killed its worker each time it was tried, as running out of memory does"


@dataclass(eq=False)
class Assignment:
    """A shard for one actor. failures: errors raised; deaths: workers it killed; twin: given to a second actor too."""

    task: Task
    failures: int = 0
    deaths: int = 0
    twin: bool = False

    @property
    def key(self) -> str:
        """The shard's key."""
        return self.task.shard.key

    def start(self, actor: Actor, recipe: str) -> ObjectRef[Result]:
        """Hand it to an actor; returns the reference to its result."""
        return actor.run.remote(recipe, self.task, max(0, self.deaths - 1))


@dataclass(eq=False)
class Part(Assignment):
    """Some images of a divided shard."""

    image_ids: Sequence[str] = ()
    division: "Division" = field(kw_only=True)
    place: int = 0

    def start(self, actor: Actor, recipe: str) -> ObjectRef[Result]:
        """Hand it to an actor."""
        return actor.compute_images.remote(self.task, list(self.image_ids), max(0, self.deaths - 1))


@dataclass(eq=False)
class Join(Assignment):
    """The last step of a divided shard: join its finished parts and commit."""

    parts: Sequence[ObjectRef[Result] | ObjectRef[ShardResult]] = ()

    def start(self, actor: Actor, recipe: str) -> ObjectRef[Result]:
        """Hand it to an actor."""
        return actor.join.remote(recipe, self.task, *self.parts)


class Division:
    """A shard that killed its workers, divided until each image that kills them is a part of its own.

    Parts keep the place of their first image, so that the joined rows have the order of the undivided shard.
    """

    def __init__(
        self, stage: AnyStage, task: Task, store: Store, put: Callable[[ShardResult], ObjectRef[ShardResult]]
    ) -> None:
        self._stage, self._task, self._put = stage, task, put
        columns = ("image_id", "uri", "content_hash")
        tables = [store.table(done, "images", columns) for done in task.inputs["images"]]
        self._rows = {row["image_id"]: row for table in tables for row in table.to_pylist()}
        self._finished: dict[int, ObjectRef[Result] | ObjectRef[ShardResult]] = {}
        self._open = 0
        self._batch: int = getattr(stage.params, "batch_size", 1)

    def first(self) -> list[Assignment]:
        """The first parts."""
        return self._divided(list(self._rows), 0)

    def finished(self, part: Part, result: ObjectRef[Result] | ObjectRef[ShardResult]) -> list[Assignment]:
        """A part is done, `result` refers to it. Returns the work that follows: none, or the join."""
        if part.place in self._finished:
            return []
        self._finished[part.place] = result
        self._open -= 1
        return [] if self._open else [Join(self._task, parts=[self._finished[p] for p in sorted(self._finished)])]

    def died(self, part: Part) -> list[Assignment]:
        """A part killed its worker. Returns the work that follows: smaller parts, itself again, or as `finished`.

        A part of one batch gets a second try before it is divided, as that may change the last bits of its results.
        """
        alone = len(part.image_ids) == 1
        if not alone and (part.deaths > 1 or len(part.image_ids) > self._batch):
            self._open -= 1
            return self._divided(part.image_ids, part.place)
        if not alone or part.deaths < ATTEMPTS:
            return [part]
        row = quarantined(self._stage.name, self._rows[part.image_ids[0]], KILLER)
        empty = {name: TABLES[name].empty() for name in self._stage.outputs}
        return self.finished(part, self._put(ShardResult(empty, quarantine=[row], rows_in=1)))

    def _divided(self, image_ids: Sequence[str], place: int) -> list[Assignment]:
        """Divide into many parts, so that there are few levels: each level costs one process, other parts nothing.

        Parts of more than a batch hold whole batches, so that their results are bit by bit those of the whole shard.
        """
        size = max(1, -(-len(image_ids) // PARTS))
        if len(image_ids) > self._batch:
            size = -(-size // self._batch) * self._batch
        starts = range(0, len(image_ids), size)
        parts = [Part(self._task, image_ids=image_ids[i : i + size], division=self, place=place + i) for i in starts]
        self._open += len(parts)
        return list(parts)
