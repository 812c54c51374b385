"""Stage `localize`: a model + images -> predictions: boxes, classes, or both, as its method gives them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch

from pipeline.errors import UsageError
from pipeline.params import option, reads
from pipeline.predictor import LoadPredictor, Predicted, Predictor
from pipeline.stage import Context, Done, Inputs, Shard, ShardResult, Stage, Task, one_to_one, quarantined
from pipeline.store import Store
from schemas import TABLES
from schemas.types import SPLITS
from stages.vision.batches import to_batch
from stages.vision.inference import INFERENCE_PRECISIONS, autocast, precision_ingredients
from stages.vision.models import CARD, WEIGHTS, read_card
from stages.vision.rows import IMAGE_COLUMNS, carried
from stages.vision.stream import ImageStream, Row


@dataclass(frozen=True)
class LocalizeParams:
    """Parameters of `localize`."""

    images: str = reads("images", "ingest", "the images")
    model: str = reads("model", "classify", "the trained model")
    splits: tuple[str, ...] = option(("dev", "val", "test"), "splits that are predicted", choices=SPLITS)
    precision: str = option(
        "float32", "float32, bfloat16, float16 (autocast), or auto, see docs/backbones.md", choices=INFERENCE_PRECISIONS
    )
    batch_size: int = option(64, "images in one forward pass", resource=True, at_least=1)
    decode_ahead: int = option(0, "threads that decode the next batch meanwhile", resource=True)


class Localize(Stage):
    """Predictions of one model. The catalog hands over how each method's predictor is loaded."""

    kind = "localize"
    version = 1
    Params = LocalizeParams
    outputs = ("predictions",)
    per_image = True
    divisible = True

    def __init__(self, name: str, params: LocalizeParams, predictors: Mapping[str, LoadPredictor]) -> None:
        super().__init__(name, params)
        self._predictors = predictors

    def ingredients(self) -> Mapping[str, Any]:
        """Which backbones `auto` takes for bfloat16."""
        return precision_ingredients(self.params.precision)

    def plan(self, recipe: str, inputs: Inputs, store: Store) -> list[Shard]:
        """One shard for each shard of images that holds one of the splits."""
        (images,) = inputs["images"]
        wanted = set(self.params.splits)
        shards = one_to_one(recipe, images, "images", extra={"model": inputs["model"]})
        return [
            Shard(key=shard.key, inputs=shard.inputs, rows=_count(shard, wanted))
            for shard in shards
            if wanted & set(shard.labels)
        ]

    def worker(self, context: Context) -> "_LocalizeWorker":
        """Loads the model at its first shard."""
        return _LocalizeWorker(self.name, self.params, self._predictors, context)


def _count(shard: Shard, splits: set[str]) -> int:
    return sum(sum(counts.values()) for split, counts in shard.labels.items() if split in splits)


class _LocalizeWorker:
    def __init__(
        self, stage: str, params: LocalizeParams, predictors: Mapping[str, LoadPredictor], context: Context
    ) -> None:
        self._stage, self._params, self._predictors, self._context = stage, params, predictors, context
        self._loaded: tuple[str, dict[str, Any], Predictor] | None = None

    def __call__(self, task: Task) -> ShardResult:
        card, predictor = self._load(task.inputs["model"][0])
        wanted = pc.field("split").isin(self._params.splits)
        rows = self._context.table(task.inputs["images"][0], "images", IMAGE_COLUMNS, wanted).to_pylist()
        ahead, timed = self._params.decode_ahead, self._context.timed
        stream = ImageStream(self._context.read, predictor.input_size, self._params.batch_size, ahead, timed)
        out: list[dict[str, Any]] = []
        for batch, pixels in stream.batches(rows):
            with (
                self._context.timed("forward"),
                torch.inference_mode(),
                autocast(self._context.device, self._params.precision, card["backbone"]),
            ):
                predicted = predictor(to_batch(pixels, self._context.device))
            out += [self._row(row, predicted, number, card) for number, row in enumerate(batch)]
        bad = [quarantined(self._stage, row, reason) for row, reason in stream.bad]
        return ShardResult({"predictions": TABLES["predictions"].from_rows(out)}, quarantine=bad, rows_in=len(rows))

    def _load(self, model: Done) -> tuple[dict[str, Any], Predictor]:
        if self._loaded is None or self._loaded[0] != model.key:
            card = read_card(self._context.blob(model, CARD))
            if card["method"] not in self._predictors:
                raise UsageError(f"stage {self._stage}: no predictor is known for method {card['method']!r}")
            load = self._predictors[card["method"]]
            self._loaded = model.key, card, load(card, self._context.blob(model, WEIGHTS), self._context.device)
        return self._loaded[1], self._loaded[2]

    def _row(self, row: Row, predicted: Predicted, number: int, card: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **carried(row),
            "method": card["method"],
            "source": self._stage,
            "boxes": _boxes(predicted, number, row),
            "classes": None if predicted.classes is None else predicted.classes[number],
            "class_scores": None if predicted.class_scores is None else predicted.class_scores[number],
            "backbone": card["backbone"],
            "input_size": card["input_size"],
            "weights_hash": card["weights_hash"],
            "seed": card["seed"],
        }


def _boxes(predicted: Predicted, number: int, row: Row) -> list[dict[str, float]] | None:
    if predicted.boxes is None or predicted.box_scores is None:
        return None
    size = np.array([row["width"], row["height"]] * 2, np.float32)
    x0, y0, x1, y1 = (float(value) for value in predicted.boxes[number] * size)
    return [{"x0": x0, "y0": y0, "x1": x1, "y1": y1, "score": float(predicted.box_scores[number])}]
