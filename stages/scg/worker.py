"""Refinement of maps by features of one forward pass a batch."""

from collections.abc import Iterator

import numpy as np
import torch

from pipeline.store.records import Task
from stages.bases.image_worker import ModelWorker
from stages.bases.map_reading import images_of, maps_by_id
from stages.scg.aggregation import on_grid
from stages.scg.options import ScgStageParams
from stages.scg.scg import refine, unit_cams
from stages.scg.taps import shared_grid
from stages.vision.features import read_taps
from stages.vision.image_rows import ImageRow, refined_method
from stages.vision.inference import autocast
from stages.vision.score_map_rows import Provenance, ScoreMapRow, with_map

__all__ = ["ScgWorker"]


class ScgWorker(ModelWorker[ScgStageParams, np.ndarray]):
    """`launch` returns the refined maps ``(B, h, w)`` float16 of a batch."""

    table = "score_maps"

    def begin(self, task: Task) -> int:
        """Load the network and read the maps."""
        model = self.load(task)
        self._settings = self.params.settings(model.card.backbone)
        self._size = self.params.input_size or model.card.input_size
        self._maps = maps_by_id(self.context, task.inputs["maps"], "split", self.params.splits)
        self._taps = self.params.taps or shared_grid(model.network, self._size)
        return self._size

    def images(self, task: Task) -> list[ImageRow]:
        """The images of the maps. Raises UsageError for a map without an image."""
        return images_of(self.context, task, self._maps, self.stage, self.params)

    def launch(self, images: list[ImageRow], pixels: np.ndarray) -> np.ndarray:
        """Refine the maps of a batch. Raises UsageError for unknown taps, or taps of different grids."""
        device, model = self.context.device, self.model
        maps = [torch.from_numpy(self._maps[image["image_id"]]["map"]) for image in images]
        try:
            with torch.inference_mode():
                with autocast(device, self.params.precision):
                    features = read_taps(model.network, self._taps, self.batch(pixels))
                height, width = features[0].shape[2:]
                coarse = torch.cat([on_grid(unit_cams(own), height, width) for own in maps])
                refined: np.ndarray = refine(features, coarse.to(device), self._settings)[:, 0].half().cpu().numpy()
                return refined
        except ValueError as error:
            raise self.mistake(error) from error

    def rows(self, images: list[ImageRow], launched: np.ndarray) -> Iterator[ScoreMapRow]:
        """Rows of the refined maps, with the network of this stage and the seed of the input maps."""
        origin = Provenance(self.model.card, "+".join(self._taps), self._size).columns()
        for image, refined in zip(images, launched, strict=True):
            row = self._maps[image["image_id"]]
            name = refined_method(row["method"], "scg", self.params.method)
            yield {**with_map(row, name, refined, row["flag"]), **origin, "seed": row["seed"]}
