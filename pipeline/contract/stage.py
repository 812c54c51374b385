"""The contract between a stage and whatever runs it.

A stage says what it reads, plans its shards (small descriptions, no data), and makes workers. A worker sets up once
(a model on its device) and turns one shard into one result: tables, blobs and quarantined rows. The same input gives
the same result, in whichever process and whichever order shards are computed.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Generic, Protocol, TypeVar

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from pipeline.base.params import Parameters, mistake
from pipeline.contract.context import Context, TrainContext
from pipeline.store.records import Done, Inputs, Shard, ShardRef, ShardResult, Task, Upstream, shard_key
from pipeline.store.store import Store

P = TypeVar("P", bound=Parameters, covariant=True)
T = TypeVar("T")


class Worker(Protocol):
    """Set up once, then called shard after shard."""

    def __call__(self, task: Task) -> ShardResult:
        """Compute one shard."""


class Stage(ABC, Generic[P]):
    """One step of a run. Subclasses are small: they say what is read and written; the mathematics is elsewhere.

    Importing a stage's module must be quick: libraries that compute, such as torch, are imported by `worker`.

    Attributes: `kind` (name in the catalog), `version` (raise it whenever results change), `Params` (frozen
    dataclass, see pipeline.base.params), `outputs` (tables written, the primary one first), `per_image` (rows in = rows
    out + quarantined holds for the primary table), `light` (a whole-table step that needs no accelerator), `divisible`
    (the images of a shard may be computed apart from each other: it reads their rows from the input `images`, and a
    shard that kills its workers is divided until the image is found), `by_content` (shard keys of its downstream stages
    are made of the identities of its shards, which may be known only once these are done), `reads_listing` (its shards
    carry rows of the data set's listing, which the listing kept in the run root does not hold).
    """

    kind: str
    version: ClassVar[int]
    Params: type[Parameters]
    outputs: tuple[str, ...]
    per_image: ClassVar[bool] = False
    light: ClassVar[bool] = False
    divisible: ClassVar[bool] = False
    by_content: ClassVar[bool] = False
    reads_listing: ClassVar[bool] = False

    def __init__(self, name: str, params: P) -> None:
        self.name = name
        self.params = params

    @property
    def title(self) -> str:
        """Its name for display, e.g. that of a data set; no result depends on it."""
        return ""

    def ingredients(self) -> Mapping[str, Json]:
        """What besides parameters and inputs changes results, e.g. the hash of a weights file."""
        return {}

    def files(self) -> Mapping[str, str]:
        """Parameters that name a file: parameter -> path or URI; the content is an ingredient, the path is not."""
        return {}

    def check(self) -> None:
        """Refuse bad parameters before anything runs. Raises UsageError with one line that names the parameter."""
        if wrong := mistake(self.params):
            raise UsageError(f"stage {self.name}: {wrong}")

    def check_inputs(self, inputs: Inputs) -> None:
        """Refuse inputs that do not fit each other, before anything is computed. Raises UsageError.

        inputs: with their recipes and their own inputs; their shards may not be known yet.
        """

    def rehearse(self, inputs: Inputs) -> None:
        """Refuse what only a library such as torch can judge: a network that cannot be built, weights that do not fit.

        Called before a data set is listed, by commands that plan or run, for a stage whose newest set is not of its
        recipe. It may import slow libraries. A missing optional package is not its concern: see `check_packages`.
        inputs: as in `check_inputs`. Raises UsageError.
        """

    def check_data(self, inputs: Inputs) -> None:
        """Refuse a data set that this stage cannot work on, e.g. one without training images.

        Called once the data set is listed and before any image is opened. inputs: with their shards, whose `labels` say
        how many images of each split and class they hold. Raises UsageError, and only where failure is certain.
        """

    @abstractmethod
    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """The shards of this stage under a recipe id. O(shards): it reads no data and writes nothing."""

    def checked(self, make: Callable[[], T]) -> T:
        """Return `make()`; its ValueError, or a missing package, becomes a UsageError that names the stage."""
        try:
            return make()
        except (ValueError, ModuleNotFoundError) as error:
            raise UsageError(f"stage {self.name}: {error}") from error

    def check_packages(self) -> None:
        """Refuse to compute without an optional package that the stage needs. Raises UsageError.

        Only a run calls it: at its start for stages that were never completed, and again before a stage computes.
        Planning and submitting do not need the package.
        """

    @abstractmethod
    def worker(self, context: Context) -> Worker:
        """Set up a worker: load the model, choose the device."""

    def tell(self, store: Store, done: Mapping[str, Done]) -> None:
        """Log what users should know of its results; each run calls it, in its own process, once it is complete."""


class SourceStage(Stage[P]):
    """A stage that reads a data set from outside of the run root: its shards come from a listing, not from inputs."""

    @property
    @abstractmethod
    def root(self) -> str:
        """The root of the data set, to which image paths that are no URIs are relative."""

    @abstractmethod
    def relists(self, recipe: str, store: Store) -> bool:
        """Whether a run lists the data set again, or trusts the newest listing."""

    def is_absent(self) -> bool:
        """Whether the data set is missing and `provide` can make it."""
        return False

    def provide(self) -> None:
        """Make or unpack the data set where it is absent. Only a run calls it."""

    @abstractmethod
    def list_shards(self, recipe: str, store: Store, payloads: bool) -> list[Shard]:
        """List the data set: its shards. payloads: with the rows that workers read, which planning does not need.

        Raises: UsageError for a bad data set.
        """

    @abstractmethod
    def known_shards(self, recipe: str, store: Store) -> list[Shard] | None:
        """The shards of the newest listing, for planning alone: without payloads; None: it was never listed."""

    @abstractmethod
    def keep_listing(self, recipe: str, shards: Sequence[Shard], store: Store) -> None:
        """Remember what `list_shards` found, so that later runs plan the same shards. Only a run calls it."""

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """Sources are listed, not planned."""
        raise TypeError(f"{self.kind} is a source: its shards come from a listing")


class TrainStage(Stage[P]):
    """A stage whose single shard is a training: run by the trainer on one or several workers."""

    @abstractmethod
    def fit(self, task: Task, context: TrainContext) -> ShardResult:
        """Train on this rank, from the newest checkpoint if there is one. Rank 0's result is committed."""

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """One training, which reads everything."""
        return whole(recipe, inputs)

    def worker(self, context: Context) -> Worker:
        """Training stages have no shard workers."""
        raise TypeError(f"{self.kind} is trained by the trainer, not by a shard worker")


AnyStage = Stage[Parameters]
"""A stage with any parameters."""


def one_to_one(recipe: str, upstream: Upstream, slot: str, *, extra: Inputs) -> list[Shard]:
    """One shard for each shard of `upstream` (read as `slot`); every shard also reads all of `extra`."""
    others = all_refs(extra)
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
    refs = all_refs(inputs)
    return [Shard(key=shard_key(recipe, refs), inputs=refs)]


def all_refs(inputs: Inputs) -> dict[str, tuple[ShardRef, ...]]:
    """References to all shards of all inputs, by slot."""
    return {slot: tuple(ref for upstream in upstreams for ref in upstream.refs()) for slot, upstreams in inputs.items()}


def roots_of(stages: Mapping[str, AnyStage]) -> dict[str, str]:
    """The root of each data set that stages list, by the name of the stage."""
    return {name: stage.root for name, stage in stages.items() if isinstance(stage, SourceStage)}
