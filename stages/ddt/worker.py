"""One class: its component is fitted to the training images, and all its images are projected."""

import errno
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypedDict

import numpy as np
import pyarrow.compute as pc
import torch

from pipeline.base.errors import StageFailed
from pipeline.store.records import ShardResult, Task
from stages.bases.image_worker import ModelWorker
from stages.ddt.ddt import NOT_FINITE, ClassMaps, Descriptors, Projection, intersection, transform
from stages.ddt.options import DdtParams
from stages.vision.features import read_taps
from stages.vision.image_rows import IMAGE_COLUMNS, ImageRow, by_id
from stages.vision.inference import autocast
from stages.vision.score_map_rows import Provenance, ScoreMapRow, score_map_row
from stages.vision.score_maps import to_half
from stages.vision.stream import ImageStream
from stages.vision.transfer import HostCopy, spare_bytes

__all__ = ["DEGENERATE", "NO_TRAINING_IMAGES", "DdtWorker"]

DEGENERATE = "degenerate_class"
NO_TRAINING_IMAGES = "no_training_images"


class ComponentRow(TypedDict):
    """A row of table components; described column by column in schemas."""

    label: int
    tap: str
    label_name: str
    mean: np.ndarray
    component: np.ndarray
    eigenvalues: np.ndarray
    eigenvalue_ratio: float | None
    residual: float
    sign_rule: str
    sign_margin: float
    sign_disagreement: bool
    positive_fraction: float
    n_images: int
    n_descriptors: int
    flag: str | None


class DdtWorker(ModelWorker[DdtParams, list[HostCopy]]):
    """A shard is a class: `launch` and `rows` are for its images outside of the training split."""

    table = "score_maps"

    def begin(self, task: Task) -> int:
        """Load the network. Raises UsageError for a layer that it does not have, or two equal ones."""
        model = self.load(task)
        try:
            self._taps = self.params.taps(model.network.tap_names, model.card.backbone)
        except ValueError as error:
            raise self.mistake(error) from error
        self._size = self.params.input_size or model.card.input_size
        self._fitted: list[ClassMaps] = []
        self._projections: list[Projection] = []
        return self._size

    def images(self, task: Task) -> list[ImageRow]:
        """The class's images, ordered by id, so that sharding does not change sums."""
        of_class = pc.field("label_name") == task.shard.args["label_name"]
        parts = (self.context.table(done, "images", IMAGE_COLUMNS, of_class) for done in task.inputs["images"])
        return by_id(row for part in parts for row in part.to_pylist())

    def __call__(self, task: Task) -> ShardResult:
        """Maps of all images of the class, and one component for each layer."""
        stream, images = self.stream(self.begin(task)), self.images(task)
        with _full_scratch_in_words(self.stage, self.context.scratch):
            train, self._fitted = self._fit(stream, [image for image in images if image["split"] == "train"])
        device = self.context.device
        principals = [layer.principal for layer in self._fitted]
        self._projections = [Projection(each.mean, each.component, device) for each in principals]
        found = list(self._mapped(train, [layer.maps for layer in self._fitted]))
        others = [image for image in images if image["split"] != "train"]
        for batch, launched in self.launched(stream, others):
            found += self.rows(batch, launched)
        layers = zip(self._taps, self._fitted, strict=False)
        components = [_component_row(images[0], tap, fitted, len(train)) for tap, fitted in layers]
        return self.result({"score_maps": found, "components": components}, stream, len(images))

    def launch(self, images: list[ImageRow], pixels: np.ndarray) -> list[HostCopy]:
        """Maps of images outside the training split, by the class's components; zeros where the class has none."""
        features = self._features(pixels)
        if not self._projections:
            return [HostCopy(torch.zeros_like(read[:, 0], dtype=torch.float32)) for read in features]
        pairs = zip(self._projections, features, strict=True)
        return [HostCopy(projection.of(read.half())) for projection, read in pairs]

    def rows(self, images: list[ImageRow], launched: list[HostCopy]) -> Iterator[ScoreMapRow]:
        """A map an image. Raises ValueError for features that are not finite."""
        with self.context.timed("forward"):
            maps = [copy.wait().numpy() for copy in launched]
        if not all(np.isfinite(of_layer).all() for of_layer in maps):
            raise ValueError(NOT_FINITE)
        return self._mapped(images, maps)

    def _mapped(self, images: Sequence[ImageRow], maps: Sequence[np.ndarray]) -> Iterator[ScoreMapRow]:
        """The rows of images from the maps of each layer; the maps of two layers are intersected."""
        if not images:
            return
        flag = _flag(self._fitted)
        origin = Provenance(self.model.card, "+".join(self._taps), self._size)
        for image, score_map in zip(images, to_half(_combined(maps, self._fitted)), strict=True):
            yield score_map_row(image, "ddt", score_map, origin, flag=flag)

    def _fit(self, stream: ImageStream, images: list[ImageRow]) -> tuple[list[ImageRow], list[ClassMaps]]:
        """DDT of every layer on the training images; returns their rows and maps, empty without a readable image."""
        taps = len(self._taps)
        budget, card = self.params.memory * 10**6 // taps, spare_bytes(self.context.device) // taps
        layers = [Descriptors(budget, self.context.scratch, card) for _ in self._taps]
        train: list[ImageRow] = []
        for batch, pixels in stream.batches(images):
            with self.context.timed("forward"):
                for layer, read in zip(layers, self._features(pixels), strict=True):
                    layer.append(read)  # outside of autocast: these are sums
            train += batch
        if not train:
            return [], []
        with self.context.timed("post"):
            return train, [transform(layer, self.params.sign) for layer in layers]

    def _features(self, pixels: np.ndarray) -> list[torch.Tensor]:
        """The layers' outputs in one forward pass, each ``(B, d, h, w)``."""
        device, model = self.context.device, self.model
        with torch.inference_mode(), autocast(device, self.params.precision):
            return read_taps(model.network, self._taps, self.batch(pixels))


@contextmanager
def _full_scratch_in_words(stage: str, folder: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        said = f"stage {stage}: no space left for descriptors in {folder}: raise memory, or point TMPDIR elsewhere"
        raise StageFailed(said) from error


def _combined(maps: Sequence[np.ndarray], fitted: Sequence[ClassMaps]) -> np.ndarray:
    """The maps of one layer as they are, those of two intersected."""
    if len(maps) == 1:
        return maps[0]
    deviations = [float(np.sqrt(layer.principal.eigenvalues[0])) for layer in fitted] or [0.0, 0.0]
    return intersection(maps[0], maps[1], (deviations[0], deviations[1]))


def _flag(fitted: Iterable[ClassMaps]) -> str | None:
    layers = list(fitted)
    if not layers:
        return NO_TRAINING_IMAGES
    return DEGENERATE if any(layer.principal.degenerate for layer in layers) else None


def _component_row(image: ImageRow, tap: str, fitted: ClassMaps, images: int) -> ComponentRow:
    principal, orientation = fitted.principal, fitted.orientation
    first, second = principal.eigenvalues
    return {
        "label": image["label"],
        "tap": tap,
        "label_name": image["label_name"],
        "mean": principal.mean,
        "component": principal.component,
        "eigenvalues": principal.eigenvalues,
        "eigenvalue_ratio": float(first / second) if second > 0 else None,
        "residual": principal.residual,
        "sign_rule": orientation.rule,
        "sign_margin": orientation.margin,
        "sign_disagreement": orientation.disagreement,
        "positive_fraction": orientation.positive_fraction,
        "n_images": images,
        "n_descriptors": fitted.maps.size,
        "flag": _flag([fitted]),
    }
