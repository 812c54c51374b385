"""Stage `cam`: images + a classifier -> score maps of each image's own class. Decode, forward and map in one call."""

from dataclasses import dataclass
from typing import Any

import torch

from pipeline.params import option, reads
from pipeline.stage import Context, Inputs, Shard, ShardResult, Stage, Task, one_to_one, quarantined
from pipeline.store import Store
from schemas import TABLES
from stages.cam.cam import class_activation_maps
from stages.vision.batches import to_batch
from stages.vision.inference import PRECISIONS, ClassifierCache, autocast
from stages.vision.rows import IMAGE_COLUMNS, carried
from stages.vision.stream import ImageStream


@dataclass(frozen=True)
class CamParams:
    """Parameters of `cam`."""

    images: str = reads("images", "ingest", "the images")
    model: str = reads("model", "classify", "the classifier whose maps are taken")
    input_size: int | None = option(None, "side of the network input, pixels; null: as the classifier was trained")
    negative_weights: bool = option(True, "false sets the class's negative weights to 0 (Bae et al. 2020)")
    precision: str = option("float32", "float32 or bfloat16 (autocast)", choices=PRECISIONS)
    batch_size: int = option(32, "images in one forward pass", resource=True, at_least=1)
    decode_ahead: int = option(0, "threads that decode the next batch meanwhile", resource=True)


class Cam(Stage):
    """Class activation maps at feature resolution."""

    kind = "cam"
    version = 1
    Params = CamParams
    outputs = ("score_maps",)
    per_image = True
    divisible = True

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
        weight = model.network.classifier.weight
        weight = weight if params.negative_weights else weight.clamp(min=0)
        size = params.input_size or model.card["input_size"]
        rows = self._context.table(task.inputs["images"][0], "images", IMAGE_COLUMNS).to_pylist()
        stream = ImageStream(self._context.read, size, params.batch_size, params.decode_ahead, self._context.timed)
        out: list[dict[str, Any]] = []
        for batch_rows, pixels in stream.batches(rows):
            labels = torch.tensor([row["label"] for row in batch_rows], device=self._context.device)
            with (
                self._context.timed("forward"),
                torch.inference_mode(),
                autocast(self._context.device, params.precision),
            ):
                features = model.network.features(to_batch(pixels, self._context.device))
                maps = class_activation_maps(features, weight, labels).half().cpu().numpy()
            for row, score_map in zip(batch_rows, maps, strict=True):
                out.append(
                    {
                        **carried(row),
                        "method": "cam",
                        "height": score_map.shape[0],
                        "width": score_map.shape[1],
                        "map": score_map.ravel(),
                        "backbone": model.card["backbone"],
                        "tap": "features",
                        "input_size": size,
                        "weights_hash": model.card["weights_hash"],
                        "seed": model.card["seed"],
                    }
                )
        bad = [quarantined(self._stage, row, reason) for row, reason in stream.bad]
        return ShardResult({"score_maps": TABLES["score_maps"].from_rows(out)}, quarantine=bad)
