"""Inception v3 (Szegedy et al. 2016) whole, and cut after Mixed_6e for localization (SPG, Zhang et al. 2018)."""

from collections import OrderedDict
from typing import Any

import torch
from torch import nn

from stages.vision.backbones.networks import LocalizerNetwork, conv_head

__all__ = ["InceptionNetwork", "inception_v3", "inception_v3_spg"]

_STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "maxpool2")
_TO_6E = (*_STEM, "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e")
_TO_7C = (*_TO_6E, "Mixed_7a", "Mixed_7b", "Mixed_7c")
_AUXILIARY_CLASSES = 1000
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's pixels in [0, 1], by which batches are normalized."""


class InceptionNetwork(LocalizerNetwork):
    """The whole network, with the published auxiliary classifier beside it: loaded and counted, never run or trained.

    The auxiliary classifier always has 1000 classes, as in PSOL's parameter counts.
    """

    def __init__(self, features: nn.Module, auxiliary: nn.Module, num_classes: int) -> None:
        super().__init__(features, 2048, num_classes)
        self.auxiliary = auxiliary.requires_grad_(False)


def inception_v3(num_classes: int) -> InceptionNetwork:
    """Up to Mixed_7c: 2048 channels, 8x8 of 299 pixels; dropout before the classifier is left out."""
    network = _published()
    return InceptionNetwork(_features(network, _TO_7C), network.AuxLogits, num_classes)


def inception_v3_spg(num_classes: int) -> LocalizerNetwork:
    """Up to Mixed_6e with three changes, and two 3x3 convolutions of 1024 channels: 768 channels at 1/8 of the input.

    The first convolution is padded, both poolings are padded and round up, and Mixed_6a has stride 1.
    """
    features = _features(_published(), _TO_6E)
    features.Conv2d_1a_3x3.conv.padding = (1, 1)
    for name in ("maxpool1", "maxpool2"):
        setattr(features, name, nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True))
    features.Mixed_6a = _Mixed6aStride1(features.Mixed_6a)
    return LocalizerNetwork(features, 768, num_classes, conv_head(768, 1024, 1024), 1024)


def _published() -> Any:
    import torchvision

    return torchvision.models.inception_v3(num_classes=_AUXILIARY_CLASSES, aux_logits=True, init_weights=True)


def _features(network: nn.Module, names: tuple[str, ...]) -> Any:
    children = OrderedDict((name, network.get_submodule(name)) for name in names)
    return nn.Sequential(OrderedDict([("rescale", _Rescale()), *children.items()]))


class _Rescale(nn.Module):
    """Convert pixels normalized by ImageNet's statistics to [-1, 1], on which the published weights were trained."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        mean, deviation = torch.tensor(_MEAN)[:, None, None], torch.tensor(_DEVIATION)[:, None, None]
        self.register_buffer("scale", 2 * deviation, persistent=False)
        self.register_buffer("shift", 2 * mean - 1, persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images * self.scale + self.shift


class _Mixed6aStride1(nn.Module):
    """torchvision's block of three branches (two of convolutions, one of pooling), each padded and with stride 1."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.branch3x3 = block.branch3x3
        self.branch3x3dbl_1 = block.branch3x3dbl_1
        self.branch3x3dbl_2 = block.branch3x3dbl_2
        self.branch3x3dbl_3 = block.branch3x3dbl_3
        for branch in (self.branch3x3, self.branch3x3dbl_3):
            branch.conv.stride, branch.conv.padding = (1, 1), (1, 1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(maps)))
        pooled = nn.functional.max_pool2d(maps, 3, stride=1, padding=1)
        return torch.cat([self.branch3x3(maps), double, pooled], 1)
