"""Settings of MinMaxCAM and of its published trainings, by backbone (Wang, Oramas and Tuytelaars 2021)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["SCALES", "TRAININGS", "Masking", "MinmaxTraining", "Preset", "Scale", "preset_of"]

Preset = Literal["mobilenet_v2", "vgg16", "resnet50"]

Masking = Literal["images", "features"]
"""What an image's class map is multiplied with before the masked descriptor is computed."""

Scale = Literal["mean", "sum"]
SCALES: tuple[Scale, ...] = get_args(Scale)


@dataclass(frozen=True)
class MinmaxTraining:
    """classes: N of a batch. common_weight, full_weight: lambda1 of CRR and lambda2 of FRR, as means over channels."""

    classes: int
    common_weight: float = 1.0
    full_weight: float = 1.0


TRAININGS: Mapping[Preset, MinmaxTraining] = {
    "mobilenet_v2": MinmaxTraining(classes=12),
    "vgg16": MinmaxTraining(classes=12, full_weight=10.0),
    "resnet50": MinmaxTraining(classes=10),
}
"""Weights are the released defaults, but for VGG16's full region: 10 is the peak of figure 5.

The paper gives no others; MobileNetV2, it says, gains from more weight on the common region.
"""


def preset_of(backbone: str) -> Preset:
    """The preset of a backbone's family: of VGG and ResNet networks their own, of all others MobileNetV2's."""
    if backbone.removeprefix("timm:").startswith("vgg"):  # a RepVGG is no VGG
        return "vgg16"
    return "resnet50" if "resnet" in backbone else "mobilenet_v2"
