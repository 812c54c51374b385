"""What stages share that make one map of a class for each image: the classifier, the images, the rows."""

from abc import ABC, abstractmethod
from functools import partial
from typing import Any

import numpy as np

from pipeline.errors import UsageError
from pipeline.stage import Context, Inputs, Shard, ShardResult, Stage, Task, one_to_one, quarantined
from pipeline.store import Store
from schemas import TABLES
from stages.vision.inference import Classifier, ClassifierCache
from stages.vision.rows import IMAGE_COLUMNS, PREDICTED, carried, map_method
from stages.vision.score_maps import to_half
from stages.vision.stream import ImageStream, Row
from stages.vision.transfer import HostCopy, one_behind

__all__ = ["ClassMapStage", "ClassMapWorker", "Launched"]

Launched = tuple[list[Row], HostCopy, HostCopy]
"""The images of a batch, and on their way: the classes (B,) of their maps, and the maps (B, h, w)."""


class ClassMapStage(Stage):
    """Score maps of the images' own class, or of the class that the network predicts."""

    outputs = ("score_maps",)
    per_image = True
    divisible = True

    def plan(self, recipe: str, inputs: Inputs, store: Store) -> list[Shard]:
        """One shard for each shard of images."""
        return one_to_one(recipe, inputs["images"][0], "images", extra={"model": inputs["model"]})


class ClassMapWorker(ABC):
    """Loads the classifier at its first shard.

    Its parameters have `classes` (label or predicted), `input_size`, `batch_size` and `decode_ahead`.
    """

    def __init__(self, stage: str, params: Any, context: Context) -> None:
        self.stage, self.params, self.context = stage, params, context
        self._models = ClassifierCache(context.device)

    @abstractmethod
    def check(self, model: Classifier) -> None:
        """Raise ValueError for a model that cannot be mapped."""

    @abstractmethod
    def launch(self, model: Classifier, batch: tuple[list[Row], np.ndarray]) -> Launched:
        """Compute the maps of a batch (rows, images (B, S, S, 3) uint8)."""

    @abstractmethod
    def method_and_tap(self, model: Classifier) -> tuple[str, str]:
        """Names of the method and of the layer whose maps these are."""

    def __call__(self, task: Task) -> ShardResult:
        """The maps of a shard of images. Raises UsageError for a model or labels that do not fit."""
        (done,), params = task.inputs["model"], self.params
        model = self._models.get(done.key, lambda name: self.context.blob(done, name))
        size = params.input_size or model.card["input_size"]
        rows = self.context.table(task.inputs["images"][0], "images", IMAGE_COLUMNS).to_pylist()
        stream = ImageStream(self.context.read, size, params.batch_size, params.decode_ahead, self.context.timed)
        try:
            self.check(model)
            if params.classes != PREDICTED:
                model.check_labels(rows)
        except ValueError as error:
            raise UsageError(f"stage {self.stage}: {error}") from error
        out: list[dict[str, Any]] = []
        for batch, classes, maps in one_behind(stream.batches(rows), partial(self.launch, model)):
            with self.context.timed("forward"):
                found = zip(batch, classes.wait().tolist(), maps.wait().numpy(), strict=True)
            out += [self._row(row, label, to_half(score_map), size, model) for row, label, score_map in found]
        bad = [quarantined(self.stage, row, reason) for row, reason in stream.bad]
        return ShardResult({"score_maps": TABLES["score_maps"].from_rows(out)}, quarantine=bad)

    def _row(self, row: Row, label: int, score_map: np.ndarray, size: int, model: Classifier) -> dict[str, Any]:
        method, tap = self.method_and_tap(model)
        return {
            **carried(row),
            "label": label,
            "method": map_method(method, self.params.classes),
            "height": score_map.shape[0],
            "width": score_map.shape[1],
            "map": score_map.ravel(),
            "backbone": model.card["backbone"],
            "tap": tap,
            "input_size": size,
            "weights_hash": model.card["weights_hash"],
            "seed": model.card["seed"],
        }
