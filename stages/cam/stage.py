"""Stage `cam`: images + a classifier -> score maps of each image's own class. Decode, forward and map in one call."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pipeline.params import option, reads
from pipeline.stage import Context
from stages.bases.class_maps import ClassMapStage, ClassMapWorker, Launched
from stages.cam.cam import class_activation_maps, pooled_logits
from stages.vision.backbones import MapsItself
from stages.vision.batches import to_batch
from stages.vision.inference import INFERENCE_PRECISIONS, Classifier, autocast, precision_ingredients
from stages.vision.rows import PREDICTED
from stages.vision.stream import Row
from stages.vision.transfer import HostCopy, to_device


@dataclass(frozen=True)
class CamParams:
    """Parameters of `cam`."""

    images: str = reads("images", "ingest", "the images")
    model: str = reads("model", "classify", "the classifier whose maps are taken")
    input_size: int | None = option(
        None, "side of the network input, pixels; null: as the classifier was trained", at_least=1
    )
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


class Cam(ClassMapStage):
    """Class activation maps at feature resolution."""

    kind = "cam"
    version = 2
    Params = CamParams

    def ingredients(self) -> Mapping[str, Any]:
        """Which backbones `auto` takes for bfloat16."""
        return precision_ingredients(self.params.precision)

    def worker(self, context: Context) -> "_CamWorker":
        """Loads the classifier at its first shard."""
        return _CamWorker(self.name, self.params, context)


class _CamWorker(ClassMapWorker):
    def check(self, model: Classifier) -> None:
        """CAM needs classes that come from one linear layer after global average pooling."""
        classic = self.params.form == "classic" and self.params.negative_weights
        if isinstance(model.network, MapsItself) and not classic:
            raise ValueError(
                f"maps of {model.card['method']} are classic, with negative weights: leave both options out"
            )
        if not model.network.has_cam:
            raise ValueError(
                f"the classes of {model.card['backbone']} do not come from one linear layer after global average"
                " pooling, so CAM is not defined; stage gradcam needs no such layer"
            )

    def method_and_tap(self, model: Classifier) -> tuple[str, str]:
        """A trained localizer's maps bear its own name."""
        return "cam" if model.card["method"] == "classify" else model.card["method"], "features"

    def launch(self, model: Classifier, batch: tuple[list[Row], np.ndarray]) -> Launched:
        """One pass over the features."""
        (rows, pixels), device = batch, self.context.device
        with self.context.timed("forward"), torch.inference_mode():
            own = self.params.classes != PREDICTED
            labels = to_device(np.array([row["label"] for row in rows]), device) if own else None
            labels, maps = self._maps(model, to_batch(pixels, device), labels)
            return rows, HostCopy(labels), HostCopy(maps)

    def _maps(
        self, model: Classifier, images: torch.Tensor, labels: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Labels and their maps; without labels, of the predicted classes."""
        params, network, classifier = self.params, model.network, model.network.classifier
        with autocast(self.context.device, params.precision, model.card["backbone"]):
            if isinstance(network, MapsItself):
                return network.class_maps(images, labels)
            features = network.class_features(images)
        # outside: maps and logits are sums over all channels
        if labels is None:
            labels = pooled_logits(features, classifier.weight, classifier.bias).argmax(dim=1)
        weight = classifier.weight if params.negative_weights else classifier.weight.clamp(min=0)
        maps = class_activation_maps(features, weight, labels)
        if params.form == "simplified":
            maps = maps + classifier.bias[labels].float()[:, None, None]
        return labels, maps
