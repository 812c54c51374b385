"""The interface by which a worker reads data and uses its machine, wherever it runs."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.base.errors import StageFailed
from pipeline.store.records import Done

if TYPE_CHECKING:
    import torch


class ChangedError(StageFailed, ValueError):
    """The bytes of an image are not those that were read when the data set was listed."""


class ImagePlace(TypedDict):
    """Where the bytes of an image are. Columns of the images table, see schemas."""

    uri: str
    offset: int | None
    length: int | None
    row: int | None


class Context(Protocol):
    """Access to committed results, image bytes, a device and scratch space."""

    @property
    def device(self) -> str:
        """The name of the torch device: cpu or cuda."""

    @property
    def threads(self) -> int:
        """How many threads it may use."""

    def timed(self, phase: str) -> AbstractContextManager[None]:
        """Count the time inside the block as `decode` or `forward`; reads count themselves, the rest is `post`."""

    @property
    def scratch(self) -> str:
        """A private folder that is removed when the process ends."""

    def table(
        self, done: Done, table: str, columns: Sequence[str] | None = None, filters: pc.Expression | None = None
    ) -> pa.Table:
        """Read one table of a committed result, optionally only some columns or rows (a pyarrow expression)."""

    def blob(self, done: Done, name: str) -> bytes:
        """Read one blob of a committed result; its checksum is verified."""

    def read(self, uri: str, content_hash: str | None = None) -> bytes:
        """Read the bytes of a file of a data set.

        Storage errors are retried, then raised; they are never quarantined.

        content_hash: SHA-256 that the bytes must have; None: any. Raises: ChangedError for others.
        """

    def read_image(self, place: ImagePlace, content_hash: str | None = None) -> bytes:
        """Read the bytes of an image: of a file, of a range of one, or of a row of a Parquet file. Else as `read`."""


class Running(TypedDict):
    """The unfinished epoch of a checkpoint, over all ranks: sums of the losses, steps and images so far.

    total: sum of the loss over the images. further: sum of the losses of the further steps (`Training.further`).
    """

    total: float
    further: float
    steps: int
    images: int


class StepState(TypedDict):
    """State dicts of one optimizer and its schedule."""

    optimizer: dict[str, Any]
    schedule: dict[str, Any]


class Checkpoint(StepState):
    """The state of a training: tensors and plain values, whatever the number of its workers.

    network: its state dict. further: the states of the further steps (`Training.further`). log: [epoch, loss, images,
    learning rate] of each finished epoch. points: (step, seconds since 1970, curve, value) since the last checkpoint.
    """

    network: Mapping[str, "torch.Tensor"]
    further: list[StepState]
    log: list[list[float]]
    running: Running
    points: list[tuple[int, float, str, float]]


class TrainContext(Context, Protocol):
    """The context of a training: also its rank among the workers, checkpoints and progress."""

    @property
    def rank(self) -> int:
        """This worker's number; rank 0 writes."""

    @property
    def world_size(self) -> int:
        """How many workers there are."""

    @property
    def micro_batch(self) -> int | None:
        """The most images that a worker puts through the network at once; None: its whole share of a step."""

    @property
    def save_seconds(self) -> float:
        """Time between two checkpoints inside an epoch."""

    def load(self) -> Checkpoint | None:
        """The newest checkpoint of this shard, or None."""

    def save(self, state: Checkpoint, progress: Mapping[str, float]) -> None:
        """Checkpoint `state` (a barrier for all ranks) and report progress."""
