"""VGG16 (Simonyan and Zisserman 2015) as published, and its variants for localization."""

from collections import OrderedDict

import torch
from torch import nn

from stages.vision.backbones.networks import LocalizerNetwork, conv_head

__all__ = ["VggNetwork", "vgg16", "vgg16_acol", "vgg16_acol28", "vgg16_cam", "vgg16_gap"]

_POOLS = (4, 9, 16, 23, 30)
"""Indices of pool1 to pool5 in torchvision's features; convolutions keep their indices in every variant."""


class VggNetwork(LocalizerNetwork):
    """VGG16 with fc6 and fc7 (ReLU, dropout) between its features and the classifier, which is fc8.

    Features are averaged to 7x7 before fc6, so inputs other than 224 pixels work too.
    """

    has_cam = False

    def __init__(self, features: nn.Module, fully_connected: nn.Module, num_classes: int) -> None:
        super().__init__(features, 512, num_classes, classifier_dim=4096)
        self.fc = fully_connected

    def pooled(self, images: torch.Tensor) -> torch.Tensor:
        """Input of fc8, ``(B, 4096)``, for normalized images ``(B, 3, S, S)``."""
        return self.fc(nn.functional.adaptive_avg_pool2d(self.features(images), 7).flatten(1))


def vgg16(num_classes: int) -> VggNetwork:
    """The whole network; its features, pool5 included, are what PSOL's DDT reads at 448 pixels: 512 channels, 1/32."""
    import torchvision

    network = torchvision.models.vgg16(init_weights=True)
    names = ("fc6", "relu6", "drop6", "fc7", "relu7", "drop7")
    fully_connected = nn.Sequential(OrderedDict(zip(names, network.classifier, strict=False)))
    return VggNetwork(network.features, fully_connected, num_classes)


def vgg16_gap(num_classes: int) -> LocalizerNetwork:
    """All convolutions and pool5, GAP, one linear layer (PSOL's "VGG-GAP"): 512 channels at 1/32 of the input."""
    return LocalizerNetwork(_features(), 512, num_classes)


def vgg16_cam(num_classes: int) -> LocalizerNetwork:
    """No pool5, a 3x3 convolution to 1024 channels, GAP (wsolevaluation, Choe et al. 2020): 1/16 of the input."""
    return LocalizerNetwork(_features()[: _POOLS[4]], 512, num_classes, conv_head(512, 1024), 1024)


def vgg16_acol(num_classes: int) -> LocalizerNetwork:
    """No pool5 and two 3x3 convolutions of 1024 channels (SPA, Pan et al. 2021): 1/16 of the input."""
    return LocalizerNetwork(_features()[: _POOLS[4]], 512, num_classes, conv_head(512, 1024, 1024), 1024)


def vgg16_acol28(num_classes: int) -> LocalizerNetwork:
    """The "D1" layout of ACoL and I2C with the head of `vgg16_acol`: 1/8 of the input.

    Pooling is 3x3 throughout; pool4 and pool5 have stride 1, and a 3x3 average of stride 1 follows.
    """
    features = _features()
    for place in _POOLS:
        features[place] = nn.MaxPool2d(3, stride=2 if place in _POOLS[:3] else 1, padding=1)
    features.append(nn.AvgPool2d(3, stride=1, padding=1))
    return LocalizerNetwork(features, 512, num_classes, conv_head(512, 1024, 1024), 1024)


def _features() -> nn.Sequential:
    import torchvision

    features: nn.Sequential = torchvision.models.vgg16(init_weights=True).features
    return features
