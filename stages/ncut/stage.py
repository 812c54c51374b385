"""Stage `ncut`: images + a network -> score maps of the foreground. Forward passes are batched, cuts are not."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from pipeline.errors import UsageError
from pipeline.params import option, reads
from pipeline.stage import Context, ShardResult, Task, quarantined
from schemas import TABLES
from stages.bases.class_maps import ClassMapStage
from stages.ncut.affinity import GRAPHS, CutParameters
from stages.ncut.ncut import COMPONENTS, Cut, cut, score_map
from stages.vision.backbones import backbone, tap_path, tapped
from stages.vision.batches import to_batch
from stages.vision.inference import INFERENCE_PRECISIONS, Classifier, ClassifierCache, autocast, precision_ingredients
from stages.vision.rows import IMAGE_COLUMNS, carried
from stages.vision.score_maps import to_half
from stages.vision.stream import ImageStream, Row
from stages.vision.transfer import HostCopy, one_behind

_KEYS = "keys"


@dataclass(frozen=True)
class NcutParams:
    """Parameters of `ncut`."""

    images: str = reads("images", "ingest", "the images")
    model: str = reads("model", "classify", "the network whose features are the tokens; its classes play no part")
    tap: str | None = option(
        None, "layer whose output is cut; null: a transformer's keys in its last block, else the backbone's default"
    )
    tau: float = option(0.2, "tokens whose cosine exceeds it are joined (TokenCut: 0.2; on CUB 0.05)")
    epsilon: float = option(1e-5, "weight of the pairs that are not joined")
    graph: str = option("binary", "binary: joined tokens have weight 1; soft: their cosine", choices=GRAPHS)
    component: str = option(
        "all",
        "all: the whole foreground is positive; seed: only the 4-connected component of the seed, TokenCut's mask",
        choices=COMPONENTS,
    )
    input_size: int | None = option(
        None, "side of the network input, pixels; null: as the network was trained", at_least=1
    )
    precision: str = option(
        "float32", "of the features: float32, bfloat16, float16 (autocast), or auto", choices=INFERENCE_PRECISIONS
    )
    batch_size: int = option(32, "images in one forward pass", resource=True, at_least=1)
    decode_ahead: int = option(0, "threads that decode the next batch meanwhile", resource=True)


class Ncut(ClassMapStage):
    """TokenCut's cut, positive on the foreground; its box is that of component seed at absolute 0 on the grid."""

    kind = "ncut"
    version = 2
    Params = NcutParams

    def check(self) -> None:
        """Refuse a graph that cannot be cut."""
        super().check()
        try:
            settings(self.params)
        except ValueError as error:
            raise UsageError(f"stage {self.name}: {error}") from error

    def ingredients(self) -> Mapping[str, Any]:
        """Which backbones `auto` takes for bfloat16."""
        return precision_ingredients(self.params.precision)

    def worker(self, context: Context) -> "_NcutWorker":
        """Loads the network at its first shard."""
        return _NcutWorker(self.name, self.params, context)


def settings(params: NcutParams) -> CutParameters:
    """The graph's parameters. Raises: ValueError, see `CutParameters`."""
    return CutParameters(params.tau, params.epsilon, params.graph)  # type: ignore[arg-type]


class _NcutWorker:
    def __init__(self, stage: str, params: NcutParams, context: Context) -> None:
        self._stage, self._params, self._context = stage, params, context
        self._models = ClassifierCache(context.device)
        self._settings = settings(params)

    def __call__(self, task: Task) -> ShardResult:
        (done,), params = task.inputs["model"], self._params
        model = self._models.get(done.key, lambda name: self._context.blob(done, name))
        size, tap = params.input_size or model.card["input_size"], self._tap(model)
        rows = self._context.table(task.inputs["images"][0], "images", IMAGE_COLUMNS).to_pylist()
        stream = ImageStream(self._context.read, size, params.batch_size, params.decode_ahead, self._context.timed)
        out: list[dict[str, Any]] = []
        for batch, copy in one_behind(stream.batches(rows), partial(self._features, model, tap)):
            with self._context.timed("forward"):
                features = copy.wait().numpy()
            for row, of_image in zip(batch, features, strict=True):
                try:
                    found = cut(of_image, self._settings)
                except ValueError as error:
                    stream.bad.append((row, str(error)))
                else:
                    out.append(self._row(row, found, tap, size, model))
        bad = [quarantined(self._stage, row, reason) for row, reason in stream.bad]
        return ShardResult({"score_maps": TABLES["score_maps"].from_rows(out)}, quarantine=bad)

    def _tap(self, model: Classifier) -> str:
        """Name of the layer. Raises UsageError for one that the network does not have."""
        name = model.card["backbone"]
        entry = backbone(name)
        tap: str = self._params.tap or (_KEYS if _KEYS in entry.aside else entry.default_tap)
        try:
            tap_path(name, tap)
        except ValueError as error:
            raise UsageError(f"stage {self._stage}: {error}") from error
        return tap

    def _features(self, model: Classifier, tap: str, batch: tuple[list[Row], np.ndarray]) -> tuple[list[Row], HostCopy]:
        """The images, and on their way what the layer puts out for them, (B, d, h, w) float32."""
        rows, pixels = batch
        name, device = model.card["backbone"], self._context.device
        with (
            self._context.timed("forward"),
            torch.inference_mode(),
            autocast(device, self._params.precision, name),
            tapped(model.network, tap_path(name, tap)) as layer,
        ):
            try:
                model.network.features(to_batch(pixels, device))
            except ValueError as error:
                raise UsageError(f"stage {self._stage}: {error}") from error
            return rows, HostCopy(layer.output.float().contiguous())

    def _row(self, row: Row, found: Cut, tap: str, size: int, model: Classifier) -> dict[str, Any]:
        values = score_map(found, self._params.component)  # type: ignore[arg-type]
        return {
            **carried(row),
            "method": "ncut",
            "height": values.shape[0],
            "width": values.shape[1],
            "map": to_half(values).ravel(),
            "flag": found.flag,
            "backbone": model.card["backbone"],
            "tap": tap,
            "input_size": size,
            "weights_hash": model.card["weights_hash"],
            "seed": model.card["seed"],
        }
