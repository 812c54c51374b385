"""Images in, one row an image out: what every worker shares that decodes, computes batch by batch, and writes rows."""

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
    """The parameters that such a stage has."""

    @property
    def batch_size(self) -> int:
        """Images in one batch."""

    @property
    def decode_ahead(self) -> int:
        """Threads that decode the next batch meanwhile."""


O = TypeVar("O", bound=BatchOptions)  # noqa: E741
Launched = TypeVar("Launched")


class ImageWorker(ABC, Generic[O, Launched]):
    """Calls `begin`, then `launch` and `rows` for each batch. The next batch is launched before rows are made of one.

    table: what is written. An image whose content cannot be used is a quarantined row.
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
        """Compute a batch, images ``(B, S, S, 3)`` uint8; a GPU may still be at work when it returns."""

    @abstractmethod
    def rows(self, images: list[ImageRow], launched: Launched) -> Iterable[Mapping[str, object]]:
        """The rows of a batch, once it is computed."""

    def __call__(self, task: Task) -> ShardResult:
        """The rows of a shard. Raises UsageError for a model or images that do not fit."""
        size = self.begin(task)
        images = self.images(task)
        stream = self.stream(size)
        found = [row for batch, launched in self.launched(stream, images) for row in self.rows(batch, launched)]
        return self.result({self.table: found}, stream, len(images))

    def shown(self, image: np.ndarray, size: int) -> np.ndarray:
        """What of an image ``(H, W, 3)`` uint8 goes into a batch: all of it, squashed to ``(size, size, 3)``."""
        return resize(image, size)

    def stream(self, size: int) -> ImageStream:
        """The shard's images, decoded and as they are shown."""
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
        """Each batch with what `launch` made of it, one batch behind."""
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
        """The tables of a shard of so many images, and those that were set aside."""
        bad = [quarantined(self.stage, image, reason) for image, reason in (*stream.bad, *self._refused)]
        made = {name: TABLES[name].from_rows(rows) for name, rows in tables.items()}
        return ShardResult(made, quarantine=bad, rows_in=images)

    def mistake(self, error: Exception) -> UsageError:
        """An error of the mathematics as one of usage."""
        return UsageError(f"stage {self.stage}: {error}")


class ModelWorker(ImageWorker[O, Launched]):
    """A worker that reads a classifier, once for all shards."""

    model: Classifier

    def __init__(self, stage: str, params: O, context: Context, loaders: ModelLoaders) -> None:
        super().__init__(stage, params, context)
        self._models = ClassifierCache(context.device, loaders)

    def load(self, task: Task) -> Classifier:
        """The shard's model, kept as `model`. Raises UsageError for one that is no classifier."""
        (done,) = task.inputs["model"]
        try:
            self.model = self._models.get(done.key, lambda name: self.context.blob(done, name))
        except ValueError as error:
            raise self.mistake(error) from error
        return self.model

    def shown(self, image: np.ndarray, size: int) -> np.ndarray:
        """All of an image, squashed as the model's weights ask for."""
        return resize(image, size, self.model.card.preprocessing.interpolation)

    def batch(self, pixels: np.ndarray) -> torch.Tensor:
        """Images ``(B, S, S, 3)`` uint8 as the model is shown them, ``(B, 3, S, S)`` float32 on the device."""
        return to_batch(pixels, self.model.card.preprocessing, self.context.device)
