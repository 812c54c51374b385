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
    """The parameters that such a stage has."""

    @property
    def classes(self) -> str:
        """Label or predicted."""

    @property
    def input_size(self) -> int | None:
        """Side of the network input, pixels; None: as the network was trained."""


C = TypeVar("C", bound=ClassMapOptions)

ClassMaps = tuple[HostCopy, HostCopy]
"""On their way to the host: the classes (B,) of a batch's maps, and the maps (B, h, w)."""


class ClassMapWorker(ModelWorker[C, ClassMaps]):
    """A subclass checks the model, names its maps, and computes them."""

    table = "score_maps"

    @abstractmethod
    def check(self, model: Classifier) -> None:
        """Raise ValueError for a model that cannot be mapped."""

    @abstractmethod
    def method_and_tap(self, model: Classifier) -> tuple[str, str]:
        """Names of the method and of the layer whose maps these are."""

    def begin(self, task: Task) -> int:
        """Load the model. Raises UsageError for one that does not fit."""
        model = self.load(task)
        try:
            self.check(model)
        except ValueError as error:
            raise self.mistake(error) from error
        return self.params.input_size or model.card.input_size

    def images(self, task: Task) -> list[ImageRow]:
        """The shard's images. Raises UsageError for labels that are other classes than the model's."""
        images = list(super().images(task))
        if self.params.classes != PREDICTED:
            try:
                self.model.card.check_labels(images)
            except ValueError as error:
                raise self.mistake(error) from error
        return images

    def rows(self, images: list[ImageRow], launched: ClassMaps) -> Iterator[ScoreMapRow]:
        """A map an image."""
        classes, maps = launched
        with self.context.timed("forward"):
            halves = to_half(maps.wait().numpy())  # all at once, see ImageStream
            found: list[tuple[int, np.ndarray]] = list(zip(classes.wait().tolist(), halves, strict=True))
        method, tap = self.method_and_tap(self.model)
        origin = Provenance(self.model.card, tap, self.params.input_size or self.model.card.input_size)
        name = map_method(method, self.params.classes)
        for image, (label, score_map) in zip(images, found, strict=True):
            yield score_map_row(image, name, score_map, origin, label=label)
