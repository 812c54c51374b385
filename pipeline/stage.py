"""The contract between a stage and whatever runs it.

A stage says what it reads, plans its shards (small descriptions, no data), and makes workers. A worker sets up once
(a model on its device) and turns one shard into one result: tables, blobs and quarantined rows. The same input gives
the same result, in whichever process and whichever order shards are computed.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import pyarrow as pa

from pipeline.errors import UsageError
from pipeline.hashing import fingerprint
from pipeline.params import mistake

if TYPE_CHECKING:
    from pipeline.store import Store

LabelCounts = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class ShardRef:
    """Names one shard of an upstream stage, done or not."""

    stage: str
    recipe: str
    key: str


@dataclass(frozen=True)
class Shard:
    """One unit of work: what to read and the arguments that tell it from its siblings.

    `rows`: images it is planned to see, where that is known. `rows_from`: the input slot all of whose rows it sees.
    `labels`: split -> class name -> number of images, for stages that plan by class.
    `payload`: what only the worker needs and no hash depends on (the rows to read, as an Arrow table, say).
    """

    key: str
    inputs: Mapping[str, tuple[ShardRef, ...]] = field(default_factory=dict)
    args: Mapping[str, Any] = field(default_factory=dict)
    rows: int | None = None
    rows_from: str | None = None
    labels: LabelCounts = field(default_factory=dict)
    payload: Any = None


@dataclass(frozen=True)
class Upstream:
    """A planned upstream stage as seen by the stage that reads it."""

    name: str
    kind: str
    recipe: str
    shards: Sequence[Shard]
    ingredients: Mapping[str, Any] = field(default_factory=dict)

    def refs(self) -> tuple[ShardRef, ...]:
        """References to all its shards, in plan order."""
        return tuple(ShardRef(self.name, self.recipe, shard.key) for shard in self.shards)


Inputs = Mapping[str, tuple[Upstream, ...]]


@dataclass
class ShardResult:
    """What a worker makes of a shard. Tables follow their schemas; blobs are files (a model, a report).

    `rows_in`: images the worker was given, where only it can know (it read some rows of a part).
    """

    tables: dict[str, pa.Table] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    quarantine: list[dict[str, Any]] = field(default_factory=list)
    rows_in: int | None = None


@dataclass(frozen=True)
class Done:
    """The committed result of a shard: the content of `done/<key>.json`, whose presence means that it is complete.

    `seconds`: what it took; `phases`: the same by phase (pipeline.clock), and how long its worker had waited for it.
    """

    stage: str
    recipe: str
    key: str
    attempt: str
    tables: Mapping[str, Mapping[str, Any]]
    blobs: Mapping[str, Mapping[str, Any]]
    ok: int
    quarantined: int
    seconds: float
    phases: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """A shard with its inputs resolved to committed results: slot -> Done of every shard that is read."""

    shard: Shard
    inputs: Mapping[str, tuple[Done, ...]]

    def rows_in(self, result: ShardResult) -> int | None:
        """Rows that must come out or be quarantined: as read upstream, as planned, or as the worker counted them."""
        if self.shard.rows_from is not None:
            return sum(done.ok for done in self.inputs[self.shard.rows_from])
        return result.rows_in if result.rows_in is not None else self.shard.rows


class Context(Protocol):
    """What a worker may use of the world: reading committed results, image bytes, its device, scratch space."""

    device: str
    threads: int

    def timed(self, phase: str) -> AbstractContextManager[None]:
        """Charge the time inside to a phase, `decode` or `forward`. Reading charges itself, the rest is `post`."""

    @property
    def scratch(self) -> str:
        """A private folder that goes with the process."""

    def table(self, done: Done, table: str, columns: Sequence[str] | None = None, filters: Any = None) -> pa.Table:
        """Read one table of a committed result, optionally only some columns or rows (a pyarrow expression)."""

    def blob(self, done: Done, name: str) -> bytes:
        """Read one blob of a committed result; its checksum is verified."""

    def read(self, uri: str, offset: int | None = None, length: int | None = None) -> bytes:
        """Read the bytes of an image. Storage errors are retried, then raised; they are never quarantined."""


class TrainContext(Context, Protocol):
    """What a training stage may use besides: its place among the workers, checkpoints, progress."""

    rank: int
    world_size: int

    @property
    def save_seconds(self) -> float:
        """Time between two checkpoints inside an epoch."""

    def load(self) -> dict[str, Any] | None:
        """The newest checkpoint of this shard, or None."""

    def save(self, state: dict[str, Any], progress: Mapping[str, float]) -> None:
        """Checkpoint `state` (tensors and plain values; a barrier for all ranks) and report progress."""


class Worker(Protocol):
    """Set up once, then called shard after shard."""

    def __call__(self, task: Task) -> ShardResult:
        """Compute one shard."""


class Stage(ABC):
    """One step of a run. Subclasses are small: what is read and written; the mathematics stands elsewhere.

    Class attributes: `kind` (name in the catalog), `version` (raise it whenever results change), `Params` (frozen
    dataclass, see pipeline.params), `outputs` (tables written, the primary one first), `per_image` (rows in = rows out
    + quarantined holds for the primary table), `light` (a whole-table step that needs no accelerator), `divisible` (the
    images of a shard may be computed apart from each other: it reads their rows from the input `images`, and a shard
    that kills its workers is divided until the image is found).
    """

    kind: ClassVar[str]
    version: ClassVar[int]
    Params: ClassVar[type]
    outputs: ClassVar[tuple[str, ...]]
    per_image: ClassVar[bool] = False
    light: ClassVar[bool] = False
    divisible: ClassVar[bool] = False

    def __init__(self, name: str, params: Any) -> None:
        self.name = name
        self.params = params

    def ingredients(self) -> Mapping[str, Any]:
        """What besides parameters and inputs changes results, e.g. the hash of a weights file. JSON-like."""
        return {}

    def check(self) -> None:
        """Refuse bad parameters before anything runs. Raises UsageError with one line that names the parameter."""
        if wrong := mistake(self.params):
            raise UsageError(f"stage {self.name}: {wrong}")

    @abstractmethod
    def plan(self, recipe: str, inputs: Inputs, store: "Store") -> list[Shard]:
        """The shards of this stage. Cheap: O(shards), reads no data and writes nothing."""

    def prepare(self, recipe: str, shards: Sequence[Shard], store: "Store") -> None:
        """Called once by a run, never by `plan`, before the first shard is computed."""

    @abstractmethod
    def worker(self, context: Context) -> Worker:
        """Set up a worker: load the model, choose the device."""


class TrainStage(Stage):
    """A stage whose single shard is a training: run by the trainer on one or several workers."""

    @abstractmethod
    def fit(self, task: Task, context: TrainContext) -> ShardResult:
        """Train on this rank, from the newest checkpoint if there is one. Rank 0's result is committed."""

    def worker(self, context: Context) -> Worker:
        """Training stages have no shard workers."""
        raise TypeError(f"{self.kind} is trained by the trainer, not by a shard worker")


def one_to_one(recipe: str, upstream: Upstream, slot: str, *, extra: Mapping[str, tuple[Upstream, ...]]) -> list[Shard]:
    """One shard for each shard of `upstream` (read as `slot`); every shard also reads all of `extra`."""
    others = {name: tuple(ref for up in ups for ref in up.refs()) for name, ups in extra.items()}
    return [
        Shard(
            key=shard_key(recipe, {slot: (ref,), **others}),
            inputs={slot: (ref,), **others},
            rows=shard.rows,
            rows_from=slot,
            labels=shard.labels,
        )
        for shard, ref in zip(upstream.shards, upstream.refs(), strict=True)
    ]


def whole(recipe: str, inputs: Inputs) -> list[Shard]:
    """One shard that reads everything."""
    refs = {slot: tuple(ref for up in ups for ref in up.refs()) for slot, ups in inputs.items()}
    return [Shard(key=shard_key(recipe, refs), inputs=refs)]


def shard_key(recipe: str, inputs: Mapping[str, tuple[ShardRef, ...]], args: Mapping[str, Any] | None = None) -> str:
    """hash(recipe, keys of the input shards, arguments)."""
    keys = {slot: [ref.key for ref in refs] for slot, refs in inputs.items()}
    return fingerprint([recipe, keys, dict(args or {})])


def quarantined(stage: str, row: Mapping[str, Any], reason: str) -> dict[str, Any]:
    """The quarantine row of a row of the images table whose content a stage cannot use."""
    return {
        "image_id": row["image_id"],
        "uri": row["uri"],
        "stage": stage,
        "reason": reason,
        "content_hash": row.get("content_hash"),
    }
