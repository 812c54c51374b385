"""Decode and predict, batch by batch."""

from collections.abc import Iterator
from dataclasses import replace
from pkgutil import resolve_name
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc
import torch

from pipeline.contract.context import Context
from pipeline.store.records import Done, Task
from stages.bases.image_worker import ImageWorker
from stages.localize.options import LocalizeParams
from stages.vision.batches import to_batch
from stages.vision.image_rows import IMAGE_COLUMNS, Carried, ImageRow, carried
from stages.vision.inference import autocast
from stages.vision.inference_views import InferenceViews
from stages.vision.model_card import CARD, WEIGHTS, ModelCard, read_card
from stages.vision.model_loaders import ModelLoaders
from stages.vision.models import load_network
from stages.vision.predictor import ClassPredictor, LoadPredictor, Predicted, Predictor
from stages.vision.score_map_rows import Provenance, ProvenanceColumns
from stages.vision.top_classes import top_classes

__all__ = ["LocalizeWorker"]


class PredictionRow(Carried, ProvenanceColumns):
    """A row of table predictions; described column by column in schemas."""

    method: str
    source: str
    boxes: list[dict[str, float]] | None
    classes: np.ndarray | None
    class_scores: np.ndarray | None


class _Loaded(NamedTuple):
    key: str
    card: ModelCard
    predictor: Predictor


class LocalizeWorker(ImageWorker[LocalizeParams, Predicted]):
    """Predicts images, and keeps the last model in memory."""

    table = "predictions"

    def __init__(self, stage: str, params: LocalizeParams, context: Context, loaders: ModelLoaders) -> None:
        super().__init__(stage, params, context)
        self._loaders = loaders
        self._loaded: _Loaded | None = None

    def begin(self, task: Task) -> int:
        """Load the model. Raises UsageError for one that cannot be read, or whose method predicts nothing."""
        (done,) = task.inputs["model"]
        if self._loaded is None or self._loaded.key != done.key:
            try:
                card = read_card(self.context.blob(done, CARD))
                self._loaded = _Loaded(done.key, card, self._predictor(card, done))
            except ValueError as error:
                raise self.mistake(error) from error
        _, self._card, self._predict = self._loaded
        params, said = self.params, self._card.preprocessing
        crop, size = said.crop if params.crop is None else params.crop, self._card.input_size
        self._views = InferenceViews(params.views, size, crop, params.keep_aspect, said.interpolation)
        return size

    def shown(self, image: np.ndarray, size: int) -> np.ndarray:
        """The views of an image, ``(V, size, size, 3)``."""
        return self._views(image)

    def images(self, task: Task) -> list[ImageRow]:
        """The shard's images of the splits."""
        wanted = pc.field("split").isin(self.params.splits)
        rows: list[ImageRow] = self.context.table(task.inputs["images"][0], "images", IMAGE_COLUMNS, wanted).to_pylist()
        return rows

    def launch(self, images: list[ImageRow], pixels: np.ndarray) -> Predicted:
        """A forward pass for each view of the images ``(B, V, S, S, 3)``."""
        found = [self._forward(pixels[:, view]) for view in range(pixels.shape[1])]
        boxed = found[self._views.of_boxes]
        logits = [each.logits for each in found if each.logits is not None]
        return replace(boxed, logits=torch.stack(logits, 1).flatten(0, 1) if logits else None)

    def _forward(self, pixels: np.ndarray) -> Predicted:
        """One forward pass."""
        device = self.context.device
        with torch.inference_mode(), autocast(device, self.params.precision):
            return self._predict(to_batch(np.ascontiguousarray(pixels), self._card.preprocessing, device))

    def rows(self, images: list[ImageRow], launched: Predicted) -> Iterator[PredictionRow]:
        """One row of predictions an image."""
        card, origin = self._card, Provenance(self._card, None, self._card.input_size)
        boxes = self._boxes(launched, images)
        with self.context.timed("forward"):
            classes = None if launched.logits is None else top_classes(launched.logits, self._views.number)
        for number, image in enumerate(images):
            yield {
                **carried(image),
                "method": card.method,
                "source": self.stage,
                "boxes": None if boxes is None else boxes[number],
                "classes": None if classes is None else classes[0][number],
                "class_scores": None if classes is None else classes[1][number],
                **origin.columns(),
            }

    def _predictor(self, card: ModelCard, done: Done) -> Predictor:
        device = self.context.device
        if card.method in self._loaders.predictors:
            loader: LoadPredictor = resolve_name(self._loaders.predictors[card.method])
            return loader(card, self.context.blob(done, WEIGHTS), device)
        if not card.is_classifier and card.method not in self._loaders.networks:
            raise ValueError(f"no predictor is known for method {card.method!r}")
        network = load_network(self._loaders.networks, card, self.context.blob(done, WEIGHTS), device)
        return ClassPredictor(network)

    def _boxes(self, predicted: Predicted, images: list[ImageRow]) -> list[list[dict[str, float]]] | None:
        """The box of each image in its pixels, as tables have it."""
        if predicted.boxes is None or predicted.box_scores is None:
            return None
        in_pixels = self._views.in_image(predicted.boxes, [(image["width"], image["height"]) for image in images])
        scored = np.column_stack([in_pixels, predicted.box_scores]).tolist()
        return [[dict(zip(("x0", "y0", "x1", "y1", "score"), box, strict=True))] for box in scored]
