"""One forward pass a batch, then one cut an image."""

from collections.abc import Iterator

import numpy as np
import torch

from pipeline.contract.context import Context
from pipeline.store.records import Task
from stages.bases.image_worker import ModelWorker
from stages.ncut.ncut import cut, score_map
from stages.ncut.options import NcutParams
from stages.vision.features import read_taps
from stages.vision.image_rows import ImageRow
from stages.vision.inference import autocast
from stages.vision.model_loaders import ModelLoaders
from stages.vision.score_map_rows import Provenance, ScoreMapRow, score_map_row
from stages.vision.transfer import HostCopy

__all__ = ["NcutWorker"]


class NcutWorker(ModelWorker[NcutParams, HostCopy]):
    """Cuts the graph of one layer's output, image by image."""

    table = "score_maps"

    def __init__(self, stage: str, params: NcutParams, context: Context, loaders: ModelLoaders) -> None:
        super().__init__(stage, params, context, loaders)
        self._settings = params.cut_parameters()

    def begin(self, task: Task) -> int:
        """Load the network. Raises UsageError for a layer that it does not have."""
        model = self.load(task)
        self._tap = self.params.tap_of(model.network.tap_names)
        try:
            model.network.tap_path(self._tap)
        except ValueError as error:
            raise self.mistake(error) from error
        self._size = self.params.input_size or model.card.input_size
        return self._size

    def launch(self, images: list[ImageRow], pixels: np.ndarray) -> HostCopy:
        """The layer's output ``(B, d, h, w)`` float32, on its way to the host."""
        device, model = self.context.device, self.model
        with torch.inference_mode(), autocast(device, self.params.precision):
            try:
                (features,) = read_taps(model.network, (self._tap,), self.batch(pixels))
            except ValueError as error:
                raise self.mistake(error) from error
            return HostCopy(features.float().contiguous())

    def rows(self, images: list[ImageRow], launched: HostCopy) -> Iterator[ScoreMapRow]:
        """A map an image; an image whose features cannot be cut is quarantined."""
        with self.context.timed("forward"):
            features = launched.wait().numpy()
        origin = Provenance(self.model.card, self._tap, self._size)
        for image, of_image in zip(images, features, strict=True):
            try:
                found = cut(of_image, self._settings)
            except (ArithmeticError, ValueError) as error:
                self.refuse(image, str(error))
            else:
                yield score_map_row(image, "ncut", score_map(found, self.params.component), origin, flag=found.flag)
