"""The contract of every network here: features, an optional convolutional head, pooling, one linear classifier.

Libraries of networks take longer to import than planning a run takes, so they are imported where a network is built.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn

from stages.vision.backbones.layouts import Layout
from stages.vision.backbones.registry import backbone
from stages.vision.backbones.tap_names import TapNames
from stages.vision.preprocessing import IMAGENET

__all__ = ["LocalizerNetwork", "conv_head", "without_strides"]

Named = list[tuple[str, nn.Parameter]]


class LocalizerNetwork(nn.Module):
    """Features, optionally a head of convolutions, GAP and a linear layer (Zhou et al., CAM).

    features: ``(B, 3, S, S)`` -> ``(B, feature_dim, h, w)``. head: None, or ``(B, feature_dim, h, w)`` ->
    ``(B, K, h, w)``. classifier: ``Linear(K, num_classes)``, K = `classifier_dim`, by default `feature_dim`.
    has_cam: a class activation map is ``classifier.weight[c]`` over `class_features`; False where classes do not come
    from GAP and a linear layer, and CAM is not defined.
    backbone: name of the entry that `build` made the network from; empty for others.
    preprocessing: of the images that its weights were trained on; set by the code that loads the weights.
    heads: names of the children that train at the head's rate.
    maps_itself: whether it has more parts than a classifier, and computes its maps in `class_maps`.
    """

    has_cam: bool = True
    maps_itself: ClassVar[bool] = False
    heads: ClassVar[tuple[str, ...]] = ("head", "classifier")

    def __init__(
        self,
        features: nn.Module,
        feature_dim: int,
        num_classes: int,
        head: nn.Module | None = None,
        classifier_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.backbone = ""
        self.preprocessing = IMAGENET
        self.features = features
        self.feature_dim = feature_dim
        self.head = head
        self.classifier = nn.Linear(classifier_dim or feature_dim, num_classes)

    @property
    def tap_names(self) -> TapNames:
        """The layers that stages may read. Raises ValueError for a network that has no entry in the table."""
        own = getattr(self.features, "tap_names", None)
        return own if isinstance(own, TapNames) else backbone(self.backbone).tap_names

    def tap_path(self, tap: str) -> str:
        """Module path of a tap. Raises ValueError for an unknown one, naming the nearest."""
        return self.tap_names.path(tap, self.backbone)

    @property
    def layout(self) -> Layout:
        """Rules that translate the tensor names in published weights."""
        return backbone(self.backbone).layout if self.backbone else Layout()

    def class_features(self, images: torch.Tensor) -> torch.Tensor:
        """Feature maps ``(B, K, h, w)``, which GAP pools and CAM weights, of normalized images ``(B, 3, S, S)``.

        Because a 1x1 convolution and a spatial mean commute, the maps of a head that ends in a 1x1 convolution
        (Zhang et al. 2018, ACoL) are the CAM of these features plus the classifier's bias.

        Raises: TypeError where `has_cam` is False.
        """
        if not self.has_cam:
            raise TypeError(f"{type(self).__name__} does not classify by GAP and a linear layer: CAM is not defined")
        maps = self.features(images)
        return maps if self.head is None else self.head(maps)

    def pooled(self, images: torch.Tensor) -> torch.Tensor:
        """Input of the classifier, ``(B, K)``, for normalized images ``(B, 3, S, S)``."""
        return self.class_features(images).mean(dim=(2, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, num_classes)`` of normalised images ``(B, 3, S, S)``."""
        return self.classifier(self.pooled(images))

    def class_maps(self, images: torch.Tensor, labels: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Labels ``(B,)`` and their maps ``(B, h, w)`` float32 of normalised images, where `maps_itself` is True.

        images: ``(B, 3, S, S)``. labels: None: of the largest logits. Raises: TypeError for an ordinary classifier.
        """
        raise TypeError(f"{type(self).__name__} is an ordinary classifier: its maps are made of its class features")

    def trained_parameters(self, head_taps: Sequence[str] = ()) -> tuple[Named, Named]:
        """The named parameters that train: those below the head, and those of head and classifier.

        head_taps: layers that count as head. Raises: ValueError for a layer that the network does not have.
        """
        heads = tuple(f"{place}." for place in (*self.heads, *map(self.tap_path, head_taps)))
        trained = [(name, parameter) for name, parameter in self.named_parameters() if parameter.requires_grad]
        return (
            [(name, parameter) for name, parameter in trained if not name.startswith(heads)],
            [(name, parameter) for name, parameter in trained if name.startswith(heads)],
        )


def conv_head(channels: int, *widths: int) -> nn.Sequential:
    """3x3 convolutions of these widths, each with a ReLU; names continue VGG's: conv6, relu6, conv7, ...

    Weights are drawn as torchvision draws VGG's (He et al. 2015, fan-out).
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, width in enumerate(widths, start=6):
        convolution = nn.Conv2d(channels, width, 3, padding=1)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        assert convolution.bias is not None
        nn.init.zeros_(convolution.bias)
        layers[f"conv{number}"], layers[f"relu{number}"] = convolution, nn.ReLU(inplace=True)
        channels = width
    return nn.Sequential(layers)


def without_strides(module: nn.Module) -> None:
    """Set the stride of every convolution inside to 1: the map grows, names and shapes of the weights stay."""
    for convolution in module.modules():
        if isinstance(convolution, nn.Conv2d):
            convolution.stride = (1, 1)
