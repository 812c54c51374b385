"""The shape every network here shares: features, global average pooling, one linear classifier (Zhou et al., CAM).

torchvision takes longer to import than planning a run takes, so it is imported where a network is built.
"""

from collections import OrderedDict

import torch
from torch import nn

__all__ = ["LocalizerNetwork", "mobilenet_v2", "resnet50", "vgg16"]


class LocalizerNetwork(nn.Module):
    """Features, GAP and a linear layer, so that a class activation map is ``classifier.weight[c]`` over ``features``.

    features: ``(B, 3, S, S)`` -> ``(B, feature_dim, h, w)``. classifier: ``Linear(feature_dim, num_classes)``.
    """

    def __init__(self, features: nn.Module, feature_dim: int, num_classes: int) -> None:
        super().__init__()
        self.features = features
        self.feature_dim = feature_dim
        self.classifier = nn.Linear(feature_dim, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, num_classes)`` of normalised images ``(B, 3, S, S)``."""
        return self.classifier(self.features(images).mean(dim=(2, 3)))


def mobilenet_v2(num_classes: int) -> LocalizerNetwork:
    """MobileNetV2 (Sandler et al. 2018): 1280 channels at 1/32 of the input; dropout before the head is left out."""
    import torchvision

    return LocalizerNetwork(torchvision.models.mobilenet_v2().features, 1280, num_classes)


def resnet50(num_classes: int) -> LocalizerNetwork:
    """ResNet-50 (He et al. 2016) with its ordinary strides: 2048 channels at 1/32 of the input."""
    import torchvision

    children = torchvision.models.resnet50().named_children()
    layers = OrderedDict((name, module) for name, module in children if name not in ("avgpool", "fc"))
    return LocalizerNetwork(nn.Sequential(layers), 2048, num_classes)


def vgg16(num_classes: int) -> LocalizerNetwork:
    """VGG16 (Simonyan and Zisserman 2015), all convolutions and pool5, no fc6 and fc7: 512 channels at 1/32.

    With a GAP head this is PSOL's "VGG-GAP"; its features alone are what PSOL's DDT reads.
    """
    import torchvision

    network = torchvision.models.vgg16(init_weights=True)
    return LocalizerNetwork(network.features, 512, num_classes)
