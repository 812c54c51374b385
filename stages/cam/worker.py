"""Decode, forward pass and class activation map in one call."""

import numpy as np
import torch

from stages.bases.class_map_worker import ClassMaps, ClassMapWorker
from stages.cam.cam import class_activation_maps, combined_maps, pooled_logits
from stages.cam.options import CamParams
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.image_rows import PREDICTED, ImageRow
from stages.vision.inference import Classifier, autocast
from stages.vision.transfer import HostCopy, to_device

__all__ = ["CamWorker", "check_network"]


class CamWorker(ClassMapWorker[CamParams]):
    """Makes maps and, if asked for, predicted classes from one forward pass."""

    def check(self, model: Classifier) -> None:
        """Refuse a network without CAM, and options that its maps do not support. Raises ValueError."""
        check_network(self.params, model.network, model.card.method)

    def method_and_tap(self, model: Classifier) -> tuple[str, str]:
        """`cam` for a plain classifier, else the localizer's name; `ccam` or `<name>_ccam` for combined maps."""
        combined = self.params.combination is not None
        plain, named = ("ccam", f"{model.card.method}_ccam") if combined else ("cam", model.card.method)
        return plain if model.card.method == "classify" else named, "features"

    def launch(self, images: list[ImageRow], pixels: np.ndarray) -> ClassMaps:
        """One forward pass; labels and maps on their way to the host."""
        device = self.context.device
        with torch.inference_mode():
            own = self.params.classes != PREDICTED
            labels = to_device(np.array([image["label"] for image in images]), device) if own else None
            labels, maps = self._maps(self.batch(pixels), labels)
            return HostCopy(labels), HostCopy(maps)

    def _maps(self, batch: torch.Tensor, labels: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Labels ``(B,)`` and their maps ``(B, h, w)``; labels None: the predicted classes."""
        params, network, classifier = self.params, self.model.network, self.model.network.classifier
        with autocast(self.context.device, params.precision):
            if network.maps_itself:
                return network.class_maps(batch, labels)
            features = network.class_features(batch)
        # outside of autocast: maps and logits are sums over all channels
        weight = classifier.weight if params.negative_weights else classifier.weight.clamp(min=0)
        if labels is None or params.combination is not None:
            logits = pooled_logits(features, classifier.weight, classifier.bias)
            labels = logits.argmax(dim=1) if labels is None else labels
        if params.combination is not None:
            return labels, combined_maps(features, weight, logits, params.combination)
        maps = class_activation_maps(features, weight, labels)
        if params.form_of(self.model.card.method) == "simplified":
            maps = maps + classifier.bias[labels].float()[:, None, None]
        return labels, maps


def check_network(params: CamParams, network: LocalizerNetwork, method: str) -> None:
    """Refuse a network without CAM, and options that its maps do not support; method: the one that trained it.

    Raises: ValueError.
    """
    form = params.form_of(method)
    classic = form == "classic" and params.negative_weights
    if network.maps_itself and not (classic and params.combination is None):
        raise ValueError(
            f"maps of {method} are classic, with negative weights: leave form, negative_weights and combination out"
        )
    if form != "classic" and params.combination is not None:
        raise ValueError("a combination of all classes has no simplified form: leave form or combination out")
    if not network.has_cam:
        raise ValueError(
            f"the classes of {network.backbone} do not come from one linear layer after global average pooling, so CAM"
            " is not defined; stage gradcam needs no such layer"
        )
