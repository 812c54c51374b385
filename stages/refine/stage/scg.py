"""Stage `scg`: score maps + images + a network -> the maps sharpened by self-correlation (SPA's second stage)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from pipeline.errors import UsageError
from pipeline.params import option, reads
from pipeline.stage import Context, ShardResult, Task, quarantined
from schemas import TABLES
from stages.refine.aggregation import on_grid
from stages.refine.scg import refine, unit_cams
from stages.refine.scg_parameters import PRESETS, ScgParameters
from stages.refine.stage.refinement import RefinementParams, RefinementStage, images_of, maps_by_id
from stages.refine.taps import read_taps, shared_grid
from stages.vision.batches import to_batch
from stages.vision.inference import INFERENCE_PRECISIONS, Classifier, ClassifierCache, autocast, precision_ingredients
from stages.vision.rows import refined_method
from stages.vision.stream import ImageStream

_KEPT = ("image_id", "label", "split", "image_height", "image_width", "flag", "seed")
_SETTINGS = ("theta1", "theta2", "omega", "delta_h", "delta_l", "order", "normalisation")


@dataclass(frozen=True)
class ScgStageParams(RefinementParams):
    """Parameters of `scg`."""

    model: str = reads("model", "classify", "the network whose features correlate")
    taps: tuple[str, ...] = option(
        (), "layers whose correlations are summed (SPA: two); empty: the backbone's first two of one grid, or its first"
    )
    input_size: int | None = option(
        None, "side of the network input, pixels; null: as the network was trained", at_least=1
    )
    preset: str = option("cub", "the released script whose values stand for null below", choices=tuple(PRESETS))
    theta1: float | None = option(None, "similarities below it are 0; null: the preset's")
    theta2: float | None = option(None, "entries of the high order below it are 0 (vgg: / hw); null: the preset's")
    omega: float | None = option(None, "weight of the high order beside the first; null: the preset's")
    delta_h: float | None = option(None, "object is where the min-maxed map is at least this; null: the preset's")
    delta_l: float | None = option(None, "background is where it is at most this; null: the preset's")
    order: int | None = option(None, "h of the high order; 1: the first order alone; null: the preset's, 2")
    normalisation: str | None = option(
        None, "vgg: columns divided by their sums; paper: stretched from 0 to 1; null: the preset's, vgg"
    )
    precision: str = option(
        "float32", "of the features: float32, bfloat16, float16 (autocast), or auto", choices=INFERENCE_PRECISIONS
    )
    batch_size: int = option(32, "images in one forward pass", resource=True, at_least=1)
    decode_ahead: int = option(0, "threads that decode the next batch meanwhile", resource=True)


class Scg(RefinementStage):
    """Self-correlation map generating on any method's maps; their method becomes `<method>_scg`."""

    kind = "scg"
    version = 2
    Params = ScgStageParams

    def check(self) -> None:
        """Refuse settings that contradict each other."""
        super().check()
        try:
            settings(self.params)
        except ValueError as error:
            raise UsageError(f"stage {self.name}: {error}") from error

    def ingredients(self) -> Mapping[str, Any]:
        """Which backbones `auto` takes for bfloat16."""
        return precision_ingredients(self.params.precision)

    def worker(self, context: Context) -> "_ScgWorker":
        """Loads the network at its first shard."""
        return _ScgWorker(self.name, self.params, context)


def settings(params: ScgStageParams) -> ScgParameters:
    """The preset with what is given in its place. Raises: ValueError where they do not fit, see `ScgParameters`."""
    given = {name: getattr(params, name) for name in _SETTINGS}
    return replace(PRESETS[params.preset], **{name: value for name, value in given.items() if value is not None})


class _ScgWorker:
    def __init__(self, stage: str, params: ScgStageParams, context: Context) -> None:
        self._stage, self._params, self._context = stage, params, context
        self._models = ClassifierCache(context.device)
        self._settings = settings(params)

    def __call__(self, task: Task) -> ShardResult:
        (done,), params = task.inputs["model"], self._params
        model = self._models.get(done.key, lambda name: self._context.blob(done, name))
        size = params.input_size or model.card["input_size"]
        maps = maps_by_id(self._context, task.inputs["maps"], "split", params.splits)
        stream = ImageStream(self._context.read, size, params.batch_size, params.decode_ahead, self._context.timed)
        taps = self._taps(model, size)
        out: list[dict[str, Any]] = []
        for batch, pixels in stream.batches(images_of(self._stage, params, self._context, task, list(maps))):
            given = [maps[row["image_id"]] for row in batch]
            with self._context.timed("forward"):
                refined = self._refined(model, taps, pixels, given)
            out += [
                {**_row(row, found, taps, size, model), "method": refined_method(row["method"], "scg", params.method)}
                for row, found in zip(given, refined, strict=True)
            ]
        bad = [quarantined(self._stage, row, reason) for row, reason in stream.bad]
        return ShardResult({"score_maps": TABLES["score_maps"].from_rows(out)}, quarantine=bad, rows_in=len(maps))

    def _taps(self, model: Classifier, size: int) -> tuple[str, ...]:
        return self._params.taps or shared_grid(model.network, size)

    def _refined(
        self, model: Classifier, taps: Sequence[str], pixels: np.ndarray, rows: Sequence[Mapping[str, Any]]
    ) -> np.ndarray:
        """Maps (B, h, w) float16. Raises UsageError for unknown taps, or taps of different grids."""
        device = self._context.device
        try:
            with torch.inference_mode():
                with autocast(device, self._params.precision, model.card["backbone"]):
                    features = read_taps(model.network, taps, to_batch(pixels, device))
                height, width = features[0].shape[2:]
                coarse = torch.cat([on_grid(unit_cams(torch.from_numpy(row["map"])), height, width) for row in rows])
                return refine(features, coarse.to(device), self._settings)[:, 0].half().cpu().numpy()
        except ValueError as error:
            raise UsageError(f"stage {self._stage}: {error}") from error


def _row(
    row: Mapping[str, Any], refined: np.ndarray, taps: Sequence[str], size: int, model: Classifier
) -> dict[str, Any]:
    return {
        **{name: row[name] for name in _KEPT},
        "height": refined.shape[0],
        "width": refined.shape[1],
        "map": refined.ravel(),
        "backbone": model.card["backbone"],
        "tap": "+".join(taps),
        "input_size": size,
        "weights_hash": model.card["weights_hash"],
    }
