"""Stage `gradcam`: images + any network of the registry -> score maps from gradients. A pass forth and back a batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.errors import UsageError
from pipeline.params import option, reads
from pipeline.stage import Context, Shard
from pipeline.store import Store
from stages.bases.class_maps import ClassMapStage, ClassMapWorker, Launched
from stages.gradcam.maps import METHODS, TapError, gradient_maps, installed
from stages.vision.backbones import backbone, tap_path
from stages.vision.batches import to_batch
from stages.vision.inference import Classifier
from stages.vision.rows import PREDICTED
from stages.vision.stream import Row
from stages.vision.transfer import HostCopy


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
    input_size: int | None = option(
        None, "side of the network input, pixels; null: as the network was trained", at_least=1
    )
    batch_size: int = option(32, "images in one pass", resource=True, at_least=1)
    decode_ahead: int = option(0, "threads that decode the next batch meanwhile", resource=True)


class Gradcam(ClassMapStage):
    """Grad-CAM and its kin at the resolution of any layer; needs the extra `weakbox[gradcam]`."""

    kind = "gradcam"
    version = 1
    Params = GradcamParams

    def prepare(self, recipe: str, shards: Sequence[Shard], store: Store) -> None:
        """Refuse to start without the package. Raises UsageError."""
        _require_package(self.name)

    def worker(self, context: Context) -> "_GradcamWorker":
        """Loads the network at its first shard. Raises UsageError on a node without the package."""
        _require_package(self.name)
        return _GradcamWorker(self.name, self.params, context)


class _GradcamWorker(ClassMapWorker):
    def check(self, model: Classifier) -> None:
        """The network must have the layer."""
        tap_path(model.card["backbone"], self.params.tap)

    def method_and_tap(self, model: Classifier) -> tuple[str, str]:
        """The method of the parameters, at their layer."""
        return self.params.method, self.params.tap or backbone(model.card["backbone"]).default_tap

    def launch(self, model: Classifier, batch: tuple[list[Row], np.ndarray]) -> Launched:
        """A pass forth and back. Raises UsageError for a layer that cannot be explained."""
        (rows, pixels), params, device, name = batch, self.params, self.context.device, model.card["backbone"]
        labels = None if params.classes == PREDICTED else torch.tensor([row["label"] for row in rows], device=device)
        path = tap_path(name, params.tap)
        with self.context.timed("forward"):
            try:
                maps, classes = gradient_maps(model.network, path, to_batch(pixels, device), params.method, labels)
            except TapError as error:
                raise UsageError(f"stage {self.stage}: tap {path} of {name}: {error}") from error
        return rows, HostCopy(torch.from_numpy(classes)), HostCopy(torch.from_numpy(maps))


def _require_package(stage: str) -> None:
    if not installed():
        raise UsageError(f"stage {stage}: the package grad-cam is not installed: pip install 'weakbox[gradcam]'")
