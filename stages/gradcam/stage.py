"""Stage `gradcam`: images + any network of the registry -> score maps from gradients. A pass forth and back a batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pipeline.errors import UsageError
from pipeline.params import option, reads
from pipeline.stage import Context, Inputs, Shard, ShardResult, Stage, Task, one_to_one, quarantined
from pipeline.store import Store
from schemas import TABLES
from stages.gradcam.maps import METHODS, TapError, gradient_maps, installed
from stages.vision.backbones import backbone, tap_path
from stages.vision.batches import to_batch
from stages.vision.inference import Classifier, ClassifierCache
from stages.vision.rows import IMAGE_COLUMNS, carried, map_method
from stages.vision.score_maps import to_half
from stages.vision.stream import ImageStream, Row


@dataclass(frozen=True)
class GradcamParams:
    """Parameters of `gradcam`."""

    images: str = reads("images", "ingest", "the images")
    model: str = reads("model", "classify", "the network whose maps are taken")
    method: str = option("gradcam", f"one of {', '.join(METHODS)}", choices=METHODS)
    tap: str | None = option(None, "layer whose output is weighted; null: the backbone's default")
    classes: str = option(
        "label",
        "label: the image's own class; predicted: the network's first (then `label` of the rows is that class)",
        choices=("label", "predicted"),
    )
    input_size: int | None = option(None, "side of the network input, pixels; null: as the network was trained")
    batch_size: int = option(32, "images in one pass", resource=True, at_least=1)
    decode_ahead: int = option(0, "threads that decode the next batch meanwhile", resource=True)


class Gradcam(Stage):
    """Grad-CAM and its kin at the resolution of any layer; needs the extra `weakbox[gradcam]`."""

    kind = "gradcam"
    version = 1
    Params = GradcamParams
    outputs = ("score_maps",)
    per_image = True
    divisible = True

    def plan(self, recipe: str, inputs: Inputs, store: Store) -> list[Shard]:
        """One shard for each shard of images."""
        return one_to_one(recipe, inputs["images"][0], "images", extra={"model": inputs["model"]})

    def prepare(self, recipe: str, shards: Sequence[Shard], store: Store) -> None:
        """Refuse to start without the package. Raises UsageError."""
        _require_package(self.name)

    def worker(self, context: Context) -> "_GradcamWorker":
        """Loads the network at its first shard. Raises UsageError on a node without the package."""
        _require_package(self.name)
        return _GradcamWorker(self.name, self.params, context)


class _GradcamWorker:
    def __init__(self, stage: str, params: GradcamParams, context: Context) -> None:
        self._stage, self._params, self._context = stage, params, context
        self._models = ClassifierCache(context.device)

    def __call__(self, task: Task) -> ShardResult:
        (done,), params = task.inputs["model"], self._params
        model = self._models.get(done.key, lambda name: self._context.blob(done, name))
        size = params.input_size or model.card["input_size"]
        rows = self._context.table(task.inputs["images"][0], "images", IMAGE_COLUMNS).to_pylist()
        if params.classes == "label":
            try:
                model.check_labels(rows)
            except ValueError as error:
                raise UsageError(f"stage {self._stage}: {error}") from error
        stream = ImageStream(self._context.read, size, params.batch_size, params.decode_ahead, self._context.timed)
        out: list[dict[str, Any]] = []
        for batch, pixels in stream.batches(rows):
            with self._context.timed("forward"):
                maps, classes = self._maps(model, batch, pixels)
            found = zip(batch, classes.tolist(), to_half(maps), strict=True)
            out += [self._row(row, label, score_map, size, model) for row, label, score_map in found]
        bad = [quarantined(self._stage, row, reason) for row, reason in stream.bad]
        return ShardResult({"score_maps": TABLES["score_maps"].from_rows(out)}, quarantine=bad)

    def _maps(self, model: Classifier, rows: list[Row], pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Maps and their classes. Raises UsageError for a tap that the network does not have, or cannot explain."""
        params, device, name = self._params, self._context.device, model.card["backbone"]
        labels = torch.tensor([row["label"] for row in rows], device=device) if params.classes == "label" else None
        try:
            path = tap_path(name, params.tap)
        except ValueError as error:
            raise UsageError(f"stage {self._stage}: {error}") from error
        try:
            return gradient_maps(model.network, path, to_batch(pixels, device), params.method, labels)
        except TapError as error:
            raise UsageError(f"stage {self._stage}: tap {path} of {name}: {error}") from error

    def _row(self, row: Row, label: int, score_map: np.ndarray, size: int, model: Classifier) -> dict[str, Any]:
        return {
            **carried(row),
            "label": label,
            "method": map_method(self._params.method, self._params.classes),
            "height": score_map.shape[0],
            "width": score_map.shape[1],
            "map": score_map.ravel(),
            "backbone": model.card["backbone"],
            "tap": self._params.tap or backbone(model.card["backbone"]).default_tap,
            "input_size": size,
            "weights_hash": model.card["weights_hash"],
            "seed": model.card["seed"],
        }


def _require_package(stage: str) -> None:
    if not installed():
        raise UsageError(f"stage {stage}: the package grad-cam is not installed: pip install 'weakbox[gradcam]'")
