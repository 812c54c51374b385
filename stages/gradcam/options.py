"""What a config may say of stage `gradcam`, and the table of its methods."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from pipeline.base.params import option, reads

__all__ = ["METHODS", "GradcamParams", "Method", "MethodName"]


MethodName = Literal["gradcam", "gradcam_plusplus", "layercam", "xgradcam", "hirescam", "eigengradcam", "scorecam"]


@dataclass(frozen=True)
class Method:
    """One entry of `METHODS`.

    explainer: name of its class in pytorch-grad-cam. linear: the map is linear in the gradient (up to a sign). Global
    average pooling divides that gradient by the number of positions, so linear maps are multiplied by this number.
    """

    explainer: str
    linear: bool


METHODS: Mapping[MethodName, Method] = MappingProxyType(
    {
        "gradcam": Method("GradCAM", linear=True),
        "gradcam_plusplus": Method("GradCAMPlusPlus", linear=False),
        "layercam": Method("LayerCAM", linear=True),
        "xgradcam": Method("XGradCAM", linear=True),
        "hirescam": Method("HiResCAM", linear=True),
        "eigengradcam": Method("EigenGradCAM", linear=True),
        "scorecam": Method("ScoreCAM", linear=False),
    }
)
"""Grad-CAM (Selvaraju et al. 2017), Grad-CAM++ (Chattopadhay et al. 2018), LayerCAM (Jiang et al. 2021), XGrad-CAM
(Fu et al. 2020), HiResCAM (Draelos and Carin 2020), EigenGrad-CAM (after Muhammad and Yeasin 2020), Score-CAM (Wang et
al. 2020; a forward pass for every channel of every image)."""


@dataclass(frozen=True)
class GradcamParams:
    """Parameters of `gradcam`."""

    images: str = reads("images", "ingest", "the images")
    model: str = reads("model", "classify", "the network whose maps are taken")
    method: MethodName = option("gradcam", f"one of {', '.join(METHODS)}")
    tap: str | None = option(
        None, "layer whose output is weighted; null: the network's default (transformers with a class token: norm1)"
    )
    classes: Literal["label", "predicted"] = option(
        "label",
        "label: the image's own class; predicted: the class of the largest logit, which column `label` then holds",
    )
    input_size: int | None = option(
        None, "side of the network input, pixels; null: as the network was trained", at_least=1
    )
    batch_size: int = option(32, "images in one pass; on a CPU at most 8", resource=True, at_least=1)
    decode_ahead: int = option(0, "threads that decode the next batch meanwhile", resource=True)
