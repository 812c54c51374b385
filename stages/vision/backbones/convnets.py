"""MobileNetV2, DenseNet-161 and EfficientNet-B7 of torchvision, with GAP and one linear layer on top."""

from torch import nn

from stages.vision.backbones.networks import LocalizerNetwork, without_strides

__all__ = ["densenet161", "efficientnet_b7", "mobilenet_v2"]


def mobilenet_v2(num_classes: int, stride_1: tuple[int, ...] = ()) -> LocalizerNetwork:
    """MobileNetV2 (Sandler et al. 2018): 1280 channels at 1/32 of the input; dropout before the head is left out.

    stride_1: blocks whose stride is removed; each doubles the side of the map.
    """
    import torchvision

    features = torchvision.models.mobilenet_v2().features
    for block in stride_1:
        without_strides(features[block])
    return LocalizerNetwork(features, 1280, num_classes)


def densenet161(num_classes: int) -> LocalizerNetwork:
    """DenseNet-161 (Huang et al. 2017): 2208 channels at 1/32 of the input, after the last normalisation and ReLU."""
    import torchvision

    features = torchvision.models.densenet161().features
    features.add_module("relu5", nn.ReLU(inplace=True))
    return LocalizerNetwork(features, 2208, num_classes)


def efficientnet_b7(num_classes: int) -> LocalizerNetwork:
    """EfficientNet-B7 (Tan and Le 2019): 2560 channels at 1/32; dropout before the head is left out."""
    import torchvision

    return LocalizerNetwork(torchvision.models.efficientnet_b7().features, 2560, num_classes)
