"""One forward and backward pass through the network for each batch."""

import numpy as np
import torch

from stages.bases.class_map_worker import ClassMaps, ClassMapWorker
from stages.gradcam.maps import TapError, gradient_maps
from stages.gradcam.options import GradcamParams
from stages.vision.image_rows import PREDICTED, ImageRow
from stages.vision.inference import Classifier
from stages.vision.transfer import HostCopy

__all__ = ["GradcamWorker"]


class GradcamWorker(ClassMapWorker[GradcamParams]):
    """Makes maps by the chosen method at the chosen layer."""

    def check(self, model: Classifier) -> None:
        """Refuse a network without the layer. Raises ValueError."""
        model.network.tap_path(self._tap(model))

    def method_and_tap(self, model: Classifier) -> tuple[str, str]:
        """The chosen method and layer."""
        return self.params.method, self._tap(model)

    def _tap(self, model: Classifier) -> str:
        return self.params.tap or model.network.tap_names.gradient_default

    def launch(self, images: list[ImageRow], pixels: np.ndarray) -> ClassMaps:
        """One forward and backward pass. Raises UsageError for a layer at which no map can be made."""
        params, device, name = self.params, self.context.device, self.model.card.backbone
        own = None if params.classes == PREDICTED else torch.tensor([i["label"] for i in images], device=device)
        path = self.model.network.tap_path(self._tap(self.model))
        try:
            maps, classes = gradient_maps(self.model.network, path, self.batch(pixels), params.method, own)
        except TapError as error:
            raise self.mistake(ValueError(f"tap {path} of {name}: {error}")) from error
        return HostCopy(torch.from_numpy(classes)), HostCopy(torch.from_numpy(maps))
