"""Stage `sgrm`: score maps + images -> masks, by a network trained on each image alone (LCAR's last step)."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np

from pipeline.errors import UsageError
from pipeline.hashing import seed_from
from pipeline.params import option
from pipeline.stage import Context
from stages.refine.sgrm import predict
from stages.refine.sgrm_parameters import PRESETS, SgrmParameters, SuperpixelParameters
from stages.refine.stage.aligned import AlignedParams, AlignedStage, AlignedWorker, Batch, Refined
from stages.refine.superpixels import superpixels

_OUTPUTS = ("mask", "probability")


@dataclass(frozen=True)
class SgrmStageParams(AlignedParams):
    """Parameters of `sgrm`."""

    output: str = option("mask", "mask: 1 on the object, 0 elsewhere; probability: of object", choices=_OUTPUTS)
    seed: int = option(0, "of the networks' first weights, together with the image's id")
    preset: str = option("cub", "the data set whose values stand for null below", choices=tuple(PRESETS))
    low1: float | None = option(None, "a pixel below it is background; null: the preset's, 0.1")
    high1: float | None = option(None, "a pixel above it is object; null: the preset's, 0.6")
    low2: float | None = option(None, "a superpixel whose mean is below it is background; null: the preset's, 0.1")
    high2: float | None = option(None, "one whose mean is above it is object; null: the preset's, 0.4 (ilsvrc 0.6)")
    positive_weight: float = option(2.0, "weight of the loss on object pixels")
    negative_weight: float = option(0.1, "weight of the loss on background pixels")
    superpixel_weight: float = option(0.1, "weight of the loss on superpixels")
    learning_rate: float = option(0.05, "of SGD")
    momentum: float = option(0.9, "of SGD")
    iterations: int = option(200, "the most iterations an image gets")
    min_iterations: int = option(20, "the fewest; the paper's rule is 1")
    error: float = option(0.1, "an image stops below this share of wrong reliable pixels")
    balanced: bool = option(True, "that share is the mean of object's and background's; false: of all, as in the paper")
    channels: int = option(100, "of the network's two hidden layers")
    scale: float = option(32.0, "of the superpixels (Felzenszwalb): larger gives larger ones")
    sigma: float = option(0.5, "of the smoothing before superpixels, pixels")
    min_size: int = option(64, "smallest superpixel, pixels")


class Sgrm(AlignedStage):
    """Self-guided re-prediction from any method's maps; their method becomes `<method>_sgrm`."""

    kind = "sgrm"
    version = 2
    Params = SgrmStageParams

    def check(self) -> None:
        """Refuse settings that contradict each other."""
        super().check()
        try:
            settings(self.params)
            superpixel_settings(self.params)
        except ValueError as error:
            raise UsageError(f"stage {self.name}: {error}") from error

    def worker(self, context: Context) -> "_SgrmWorker":
        """Needs no set-up."""
        return _SgrmWorker(self.name, self.kind, self.params, context)


def settings(params: SgrmStageParams) -> SgrmParameters:
    """The preset with what is given in its place. Raises: ValueError where they do not fit, see `SgrmParameters`."""
    given = {field.name: getattr(params, field.name) for field in fields(SgrmParameters)}
    return replace(PRESETS[params.preset], **{name: value for name, value in given.items() if value is not None})


def superpixel_settings(params: SgrmStageParams) -> SuperpixelParameters:
    """As the mathematics wants them. Raises: ValueError, see `SuperpixelParameters`."""
    return SuperpixelParameters(params.scale, params.sigma, params.min_size)


class _SgrmWorker(AlignedWorker):
    def refined(self, batch: Batch) -> Refined:
        """Masks or probabilities; an empty mask is replaced by what is above the map's mean, and flagged."""
        maps, workers = batch.turned(batch.maps), max(1, self.context.threads)
        with ThreadPoolExecutor(workers) as pool:
            parts = list(pool.map(partial(superpixels, parameters=superpixel_settings(self.params)), batch.pixels))
        seeds = [seed_from(self.params.seed, image_id) for image_id in batch.image_ids]
        found = predict(batch.pixels, maps, np.stack(parts), seeds, settings(self.params), workers=workers)
        flags = ["empty_mask" if empty else None for empty in found.fallback.tolist()]
        return Refined(found.masks if self.params.output == "mask" else found.probabilities, flags)
