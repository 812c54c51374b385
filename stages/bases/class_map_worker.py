"""Score maps of the images' own class, or of the class that the network predicts."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Protocol, TypeVar

import numpy as np

from pipeline.store.records import Task
from stages.bases.image_worker import BatchOptions, ModelWorker
from stages.vision.image_rows import PREDICTED, ImageRow, map_method
from stages.vision.inference import Classifier
from stages.vision.score_map_rows import Provenance, ScoreMapRow, score_map_row
from stages.vision.score_maps import to_half
from stages.vision.transfer import HostCopy

__all__ = ["ClassMapOptions", "ClassMapWorker", "ClassMaps"]


class ClassMapOptions(BatchOptions, Protocol):
    """Parameters of a stage with a `ClassMapWorker`."""

    @property
    def classes(self) -> str:
        """`label` for maps of the image's own class, `predicted` for the predicted class."""

    @property
    def input_size(self) -> int | None:
        """Side of the network input, pixels; None: as the network was trained."""


C = TypeVar("C", bound=ClassMapOptions)

ClassMaps = tuple[HostCopy, HostCopy]
"""Copies to the host of the classes (B,) int64 of a batch's maps, and of the maps (B, h, w) of any float type."""


class ClassMapWorker(ModelWorker[C, ClassMaps]):
    """Base class: a subclass checks the model, names its maps, and computes them."""

    table = "score_maps"

    @abstractmethod
    def check(self, model: Classifier) -> None:
        """Raise ValueError for a model that has no such maps."""

    @abstractmethod
    def method_and_tap(self, model: Classifier) -> tuple[str, str]:
        """Names of the method and of the layer that the maps are read from."""

    def begin(self, task: Task) -> int:
        """Load the model. Raises UsageError for a model that does not fit."""
        model = self.load(task)
        try:
            self.check(model)
        except ValueError as error:
            raise self.mistake(error) from error
        return self.params.input_size or model.card.input_size

    def images(self, task: Task) -> list[ImageRow]:
        """The shard's images. Raises UsageError for labels that differ from the model's classes."""
        images = list(super().images(task))
        if self.params.classes != PREDICTED:
            try:
                self.model.card.check_labels(images)
            except ValueError as error:
                raise self.mistake(error) from error
        return images

    def rows(self, images: list[ImageRow], launched: ClassMaps) -> Iterator[ScoreMapRow]:
        """One row of score_maps an image."""
        classes, maps = launched
        with self.context.timed("forward"):
            halves = to_half(maps.wait().numpy())  # all at once, see ImageStream
            found: list[tuple[int, np.ndarray]] = list(zip(classes.wait().tolist(), halves, strict=True))
        method, tap = self.method_and_tap(self.model)
        origin = Provenance(self.model.card, tap, self.params.input_size or self.model.card.input_size)
        name = map_method(method, self.params.classes)
        for image, (label, score_map) in zip(images, found, strict=True):
            yield score_map_row(image, name, score_map, origin, label=label)
