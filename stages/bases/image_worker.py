"""Base of workers that decode images, compute batch by batch, and write one row an image."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar, Generic, Protocol, TypeVar

import numpy as np
import torch

from pipeline.base.errors import UsageError
from pipeline.contract.context import Context
from pipeline.store.records import ShardResult, Task, quarantined
from schemas import TABLES
from stages.vision.batches import to_batch
from stages.vision.image_rows import IMAGE_COLUMNS, ImageRow
from stages.vision.images import resize
from stages.vision.inference import Classifier, ClassifierCache, images_at_once
from stages.vision.model_loaders import ModelLoaders
from stages.vision.stream import ImageStream
from stages.vision.transfer import one_behind

__all__ = ["BatchOptions", "ImageWorker", "ModelWorker"]


class BatchOptions(Protocol):
    """Parameters of a stage with an `ImageWorker`."""

    @property
    def batch_size(self) -> int:
        """Images in one batch."""

    @property
    def decode_ahead(self) -> int:
        """Threads that decode the next batch meanwhile."""


O = TypeVar("O", bound=BatchOptions)  # noqa: E741
Launched = TypeVar("Launched")


class ImageWorker(ABC, Generic[O, Launched]):
    """Calls `begin`, then `launch` and `rows` for each batch; launches the next batch before making rows of this one.

    table: name of the table that is written. An image that cannot be decoded becomes a quarantined row.
    """

    table: ClassVar[str]

    def __init__(self, stage: str, params: O, context: Context) -> None:
        self.stage, self.params, self.context = stage, params, context
        self._refused: list[tuple[ImageRow, str]] = []

    @abstractmethod
    def begin(self, task: Task) -> int:
        """Load what the shard needs; returns the side in pixels to which its images are squashed."""

    def images(self, task: Task) -> Sequence[ImageRow]:
        """The images of the shard, in the order of its rows."""
        rows: list[ImageRow] = self.context.table(task.inputs["images"][0], "images", IMAGE_COLUMNS).to_pylist()
        return rows

    @abstractmethod
    def launch(self, images: list[ImageRow], pixels: np.ndarray) -> Launched:
        """Compute a batch, images ``(B, S, S, 3)`` uint8; on a GPU it may return before the result is ready."""

    @abstractmethod
    def rows(self, images: list[ImageRow], launched: Launched) -> Iterable[Mapping[str, object]]:
        """The rows of a batch; waits for its result."""

    def __call__(self, task: Task) -> ShardResult:
        """The rows of a shard. Raises UsageError for a model or images that do not fit."""
        size = self.begin(task)
        images = self.images(task)
        stream = self.stream(size)
        found = [row for batch, launched in self.launched(stream, images) for row in self.rows(batch, launched)]
        return self.result({self.table: found}, stream, len(images))

    def shown(self, image: np.ndarray, size: int) -> np.ndarray:
        """Prepare an image ``(H, W, 3)`` uint8 for a batch: squash all of it to ``(size, size, 3)``."""
        return resize(image, size)

    def stream(self, size: int) -> ImageStream:
        """A stream that decodes images and prepares them by `shown`."""
        self._refused = []
        params, context = self.params, self.context
        shown, together = partial(self.shown, size=size), images_at_once(params.batch_size, context.device)
        return ImageStream(context.read_image, shown, together, params.decode_ahead, context.timed)

    def launched(
        self,
        stream: ImageStream,
        images: Sequence[ImageRow],
        launch: Callable[[list[ImageRow], np.ndarray], Launched] | None = None,
    ) -> Iterator[tuple[list[ImageRow], Launched]]:
        """Each batch with its result of `launch`, yielded after the next batch is launched."""
        compute = launch or self.launch

        def timed(batch: tuple[list[ImageRow], np.ndarray]) -> tuple[list[ImageRow], Launched]:
            with self.context.timed("forward"):
                return batch[0], compute(*batch)

        return one_behind(stream.batches(images), timed)

    def refuse(self, image: ImageRow, reason: str) -> None:
        """Quarantine an image that was decoded."""
        self._refused.append((image, reason))

    def result(
        self, tables: Mapping[str, Sequence[Mapping[str, object]]], stream: ImageStream, images: int
    ) -> ShardResult:
        """The result of a shard of `images` images: its tables, and the quarantined images."""
        bad = [quarantined(self.stage, image, reason) for image, reason in (*stream.bad, *self._refused)]
        made = {name: TABLES[name].from_rows(rows) for name, rows in tables.items()}
        return ShardResult(made, quarantine=bad, rows_in=images)

    def mistake(self, error: Exception) -> UsageError:
        """Turn an error of the mathematics into a UsageError that names the stage."""
        return UsageError(f"stage {self.stage}: {error}")


class ModelWorker(ImageWorker[O, Launched]):
    """An image worker with a classifier, loaded once for all shards."""

    model: Classifier

    def __init__(self, stage: str, params: O, context: Context, loaders: ModelLoaders) -> None:
        super().__init__(stage, params, context)
        self._models = ClassifierCache(context.device, loaders)

    def load(self, task: Task) -> Classifier:
        """Load the shard's model into `model`. Raises UsageError for a model that is no classifier."""
        (done,) = task.inputs["model"]
        try:
            self.model = self._models.get(done.key, lambda name: self.context.blob(done, name))
        except ValueError as error:
            raise self.mistake(error) from error
        return self.model

    def shown(self, image: np.ndarray, size: int) -> np.ndarray:
        """Squash all of an image with the interpolation of the model's preprocessing."""
        return resize(image, size, self.model.card.preprocessing.interpolation)

    def batch(self, pixels: np.ndarray) -> torch.Tensor:
        """Images ``(B, S, S, 3)`` uint8 as normalised network input, ``(B, 3, S, S)`` float32 on the device."""
        return to_batch(pixels, self.model.card.preprocessing, self.context.device)
