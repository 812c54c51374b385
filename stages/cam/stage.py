"""Stage `cam`: images + a classifier -> score maps of each image's own class. Decode, forward and map in one call."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from pipeline.errors import UsageError
from pipeline.params import option, reads
from pipeline.stage import Context, Inputs, Shard, ShardResult, Stage, Task, one_to_one, quarantined
from pipeline.store import Store
from schemas import TABLES
from stages.cam.cam import class_activation_maps, pooled_logits
from stages.vision.batches import to_batch
from stages.vision.inference import INFERENCE_PRECISIONS, Classifier, ClassifierCache, autocast, precision_ingredients
from stages.vision.rows import IMAGE_COLUMNS, carried, map_method
from stages.vision.score_maps import to_half
from stages.vision.stream import ImageStream, Row
from stages.vision.transfer import HostCopy, one_behind, to_device


@dataclass(frozen=True)
class CamParams:
    """Parameters of `cam`."""

    images: str = reads("images", "ingest", "the images")
    model: str = reads("model", "classify", "the classifier whose maps are taken")
    input_size: int | None = option(None, "side of the network input, pixels; null: as the classifier was trained")
    classes: str = option(
        "label",
        "label: the image's own class; predicted: the classifier's first (then `label` of the rows is that class)",
        choices=("label", "predicted"),
    )
    form: str = option(
        "classic",
        "classic: the class's weights over the features; simplified: its bias too, as a 1x1 convolution has it (ACoL)",
        choices=("classic", "simplified"),
    )
    negative_weights: bool = option(True, "false sets the class's negative weights to 0 (Bae et al. 2020)")
    precision: str = option(
        "float32", "float32, bfloat16, float16 (autocast), or auto, see docs/backbones.md", choices=INFERENCE_PRECISIONS
    )
    batch_size: int = option(32, "images in one forward pass", resource=True, at_least=1)
    decode_ahead: int = option(0, "threads that decode the next batch meanwhile", resource=True)


class Cam(Stage):
    """Class activation maps at feature resolution."""

    kind = "cam"
    version = 2
    Params = CamParams
    outputs = ("score_maps",)
    per_image = True
    divisible = True

    def ingredients(self) -> Mapping[str, Any]:
        """Which backbones `auto` takes for bfloat16."""
        return precision_ingredients(self.params.precision)

    def plan(self, recipe: str, inputs: Inputs, store: Store) -> list[Shard]:
        """One shard for each shard of images."""
        return one_to_one(recipe, inputs["images"][0], "images", extra={"model": inputs["model"]})

    def worker(self, context: Context) -> "_CamWorker":
        """Loads the classifier at its first shard."""
        return _CamWorker(self.name, self.params, context)


class _CamWorker:
    def __init__(self, stage: str, params: CamParams, context: Context) -> None:
        self._stage, self._params, self._context = stage, params, context
        self._models = ClassifierCache(context.device)

    def __call__(self, task: Task) -> ShardResult:
        (done,), params = task.inputs["model"], self._params
        model = self._models.get(done.key, lambda name: self._context.blob(done, name))
        if not model.network.has_cam:
            raise UsageError(
                f"stage {self._stage}: the classes of {model.card['backbone']} do not come from one linear layer after"
                " global average pooling, so CAM is not defined; stage gradcam needs no such layer"
            )
        size = params.input_size or model.card["input_size"]
        rows = self._context.table(task.inputs["images"][0], "images", IMAGE_COLUMNS).to_pylist()
        if params.classes == "label":
            try:
                model.check_labels(rows)
            except ValueError as error:
                raise UsageError(f"stage {self._stage}: {error}") from error
        stream = ImageStream(self._context.read, size, params.batch_size, params.decode_ahead, self._context.timed)
        out: list[dict[str, Any]] = []
        for batch, labels, maps in one_behind(stream.batches(rows), partial(self._launch, model)):
            with self._context.timed("forward"):
                found = zip(batch, labels.wait().tolist(), maps.wait().numpy(), strict=True)
            out += [self._row(row, label, to_half(score_map), size, model) for row, label, score_map in found]
        bad = [quarantined(self._stage, row, reason) for row, reason in stream.bad]
        return ShardResult({"score_maps": TABLES["score_maps"].from_rows(out)}, quarantine=bad)

    def _launch(self, model: Classifier, batch: tuple[list[Row], np.ndarray]) -> tuple[list[Row], HostCopy, HostCopy]:
        """Compute the maps of a batch (rows, images): rows, classes (B,) and maps (B, h, w) on their way."""
        (rows, pixels), params, device = batch, self._params, self._context.device
        classifier = model.network.classifier
        with self._context.timed("forward"), torch.inference_mode():
            with autocast(device, params.precision, model.card["backbone"]):
                features = model.network.class_features(to_batch(pixels, device))
            # outside: maps and logits are sums over all channels
            if params.classes == "predicted":
                labels = pooled_logits(features, classifier.weight, classifier.bias).argmax(dim=1)
            else:
                labels = to_device(np.array([row["label"] for row in rows]), device)
            weight = classifier.weight if params.negative_weights else classifier.weight.clamp(min=0)
            maps = class_activation_maps(features, weight, labels)
            if params.form == "simplified":
                maps = maps + classifier.bias[labels].float()[:, None, None]
            return rows, HostCopy(labels), HostCopy(maps)

    def _row(self, row: Row, label: int, score_map: np.ndarray, size: int, model: Classifier) -> dict[str, Any]:
        method = "cam" if model.card["method"] == "classify" else model.card["method"]
        return {
            **carried(row),
            "label": label,
            "method": map_method(method, self._params.classes),
            "height": score_map.shape[0],
            "width": score_map.shape[1],
            "map": score_map.ravel(),
            "backbone": model.card["backbone"],
            "tap": "features",
            "input_size": size,
            "weights_hash": model.card["weights_hash"],
            "seed": model.card["seed"],
        }
