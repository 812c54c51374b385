"""Any network of timm by name."""

import re

import torch

from stages.vision.backbones.dilated_depthwise import quick_gradients
from stages.vision.backbones.layouts import Layout
from stages.vision.backbones.libraries import timm_body, timm_published
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.backbones.timm_features import TimmFeatures
from stages.vision.backbones.timm_structure import TimmStructure, classifier_layer, timm_structure
from stages.vision.backbones.vit import PatchTokens, has_class_token

__all__ = ["TimmNetwork", "timm_network"]

_FURTHER_HEADS = ("head_dist.", "aux_head.")
"""Heads of distillation (DeiT) and of tokens (VOLO), besides the classifier."""


class TimmNetwork(LocalizerNetwork):
    """A network of timm with a linear layer in place of its classifier.

    If its classes are the spatial mean of its features and a linear layer (`TimmStructure.is_exact`), CAM is defined;
    else `pooled` applies all that timm has between features and classifier.

    name: as timm calls it, with or without a tag.
    """

    features: TimmFeatures

    def __init__(self, name: str, features: TimmFeatures, structure: TimmStructure, num_classes: int) -> None:
        super().__init__(features, structure.channels, num_classes, classifier_dim=structure.width)
        self.timm_name, self.has_cam = name, structure.is_exact

    def pooled(self, images: torch.Tensor) -> torch.Tensor:
        """Input of the classifier, ``(B, K)``, for normalized images ``(B, 3, S, S)``."""
        if self.has_cam:
            return super().pooled(images)
        features, form = self.features, self.features.form
        given = features.raw(images) if form.prefix else form.back(features(images))
        return features.network.forward_head(given, pre_logits=True)

    @property
    def layout(self) -> Layout:
        """Rules that translate the tensor names in timm's files: of the body, and of a single linear classifier."""
        place = f"{self.features.child}."
        classifier = classifier_layer(self.timm_name)
        renames = ((rf"^{re.escape(classifier)}\.(?=weight$|bias$)", "classifier."),) if classifier else ()
        inner = (r"^(?!classifier\.(?:weight|bias)$)", f"features.{place}")
        others = () if classifier else tuple(f"{name}." for name in timm_published(self.timm_name).classifiers)
        return Layout((*renames, inner), unused=(*_FURTHER_HEADS, *others))


def timm_network(num_classes: int, name: str, output_stride: int | None = None) -> TimmNetwork:
    """Any network of timm whose features are a map. output_stride: see `registry.backbone_name`.

    Raises: ModuleNotFoundError without timm; ValueError for a network that timm does not know or build, that gives no
    map, or whose strides cannot be changed.
    """
    structure = timm_structure(name, output_stride)
    body = quick_gradients(timm_body(name, 0, output_stride))
    if has_class_token(body) and structure.form.prefix:
        features: TimmFeatures = PatchTokens(body, structure.inside, structure.keys)
    else:
        features = TimmFeatures(body, structure.form, structure.inside, structure.keys)
    features.tap_names = structure.tap_names
    return TimmNetwork(name, features, structure, num_classes)
