"""ResNet-50 (He et al. 2016) at three resolutions, and with squeeze-and-excitation (Hu et al. 2018)."""

from collections import OrderedDict

from torch import nn

from stages.vision.backbones.libraries import timm_network
from stages.vision.backbones.networks import LocalizerNetwork, without_strides

__all__ = ["resnet50", "seresnet50"]

_LAYERS = ("layer1", "layer2", "layer3", "layer4")


def resnet50(num_classes: int, stride_1: tuple[str, ...] = ()) -> LocalizerNetwork:
    """ResNet-50: 2048 channels at 1/32 of the input, and twice that side for each of the layers in `stride_1`."""
    import torchvision

    features = _features(torchvision.models.resnet50(), ("conv1", "bn1", "relu", "maxpool", *_LAYERS))
    for layer in stride_1:
        without_strides(features.get_submodule(layer))
    return LocalizerNetwork(features, 2048, num_classes)


def seresnet50(num_classes: int) -> LocalizerNetwork:
    """SE-ResNet-50 of timm with its ordinary strides: 2048 channels at 1/32 of the input."""
    network = timm_network("seresnet50", num_classes=0)
    return LocalizerNetwork(_features(network, ("conv1", "bn1", "act1", "maxpool", *_LAYERS)), 2048, num_classes)


def _features(network: nn.Module, names: tuple[str, ...]) -> nn.Sequential:
    return nn.Sequential(OrderedDict((name, network.get_submodule(name)) for name in names))
