"""What a config may say of stage `sgrm`."""

from dataclasses import dataclass, fields, replace
from typing import Literal

from pipeline.base.params import option
from stages.bases.aligned import AlignedParams
from stages.sgrm.parameters import PRESETS, Preset, SgrmParameters, SuperpixelParameters

__all__ = ["SgrmStageParams"]


@dataclass(frozen=True)
class SgrmStageParams(AlignedParams):
    """Parameters of `sgrm`."""

    output: Literal["mask", "probability"] = option(
        "mask", "mask: 1 on the object, 0 elsewhere; probability: that of object"
    )
    seed: int = option(0, "seed of the networks' initial weights, with the image's id")
    preset: Preset = option("cub", "the data set whose values replace null below")
    low1: float | None = option(None, "a pixel below it is background; null: the preset's, 0.1")
    high1: float | None = option(None, "a pixel above it is object; null: the preset's, 0.6")
    low2: float | None = option(None, "a superpixel whose mean is below it is background; null: the preset's, 0.1")
    high2: float | None = option(
        None, "a superpixel whose mean is above it is object; null: the preset's, 0.4 (ilsvrc 0.6)"
    )
    positive_weight: float = option(2.0, "weight of the loss on object pixels")
    negative_weight: float = option(0.1, "weight of the loss on background pixels")
    superpixel_weight: float = option(0.1, "weight of the loss on superpixels")
    learning_rate: float = option(0.05, "of SGD")
    momentum: float = option(0.9, "of SGD")
    iterations: int = option(200, "the most iterations an image gets")
    min_iterations: int = option(20, "the fewest iterations an image gets; the paper: 1")
    error: float = option(0.1, "an image's training stops below this share of wrong reliable pixels")
    balanced: bool = option(
        True, "that share is the mean of object's and background's; false: over all reliable pixels, as in the paper"
    )
    channels: int = option(100, "of the network's two hidden layers")
    scale: float = option(32.0, "of the superpixels (Felzenszwalb): larger gives larger ones")
    sigma: float = option(0.5, "of the smoothing before superpixels, pixels")
    min_size: int = option(64, "smallest superpixel, pixels")

    def settings(self) -> SgrmParameters:
        """The preset with given options in place of its values. Raises: ValueError, see `SgrmParameters`."""
        given = {field.name: getattr(self, field.name) for field in fields(SgrmParameters)}
        return replace(PRESETS[self.preset], **{name: value for name, value in given.items() if value is not None})

    def superpixel_settings(self) -> SuperpixelParameters:
        """Settings of the superpixels. Raises: ValueError, see `SuperpixelParameters`."""
        return SuperpixelParameters(self.scale, self.sigma, self.min_size)
