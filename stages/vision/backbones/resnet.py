"""ResNet-50 (He et al. 2016) at three resolutions, and with squeeze-and-excitation (Hu et al. 2018)."""

from collections import OrderedDict

from torch import nn

from stages.vision.backbones.libraries import timm_network
from stages.vision.backbones.networks import LocalizerNetwork, conv_head, without_strides

__all__ = ["resnet50", "resnet50_acol", "seresnet50"]

_LAYERS = ("layer1", "layer2", "layer3", "layer4")


def resnet50(num_classes: int, stride_1: tuple[str, ...] = ()) -> LocalizerNetwork:
    """ResNet-50: 2048 channels at 1/32 of the input, and twice that side for each of the layers in `stride_1`."""
    return LocalizerNetwork(_resnet50(stride_1), 2048, num_classes)


def resnet50_acol(num_classes: int, stride_1: tuple[str, ...] = ()) -> LocalizerNetwork:
    """`resnet50` and two 3x3 convolutions of 1024 channels before the classifier (I2C, Zhang et al. 2020)."""
    return LocalizerNetwork(_resnet50(stride_1), 2048, num_classes, conv_head(2048, 1024, 1024), 1024)


def seresnet50(num_classes: int) -> LocalizerNetwork:
    """SE-ResNet-50 of timm with its ordinary strides: 2048 channels at 1/32 of the input."""
    network = timm_network("seresnet50", num_classes=0)
    return LocalizerNetwork(_features(network, ("conv1", "bn1", "act1", "maxpool", *_LAYERS)), 2048, num_classes)


def _resnet50(stride_1: tuple[str, ...]) -> nn.Sequential:
    import torchvision

    features = _features(torchvision.models.resnet50(), ("conv1", "bn1", "relu", "maxpool", *_LAYERS))
    for layer in stride_1:
        without_strides(features.get_submodule(layer))
    return features


def _features(network: nn.Module, names: tuple[str, ...]) -> nn.Sequential:
    return nn.Sequential(OrderedDict((name, network.get_submodule(name)) for name in names))
