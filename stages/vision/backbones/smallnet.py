"""A small residual network for images of about 64 pixels, quick enough to train from scratch on a processor."""

from collections import OrderedDict

import torch
from torch import nn

from stages.vision.backbones.networks import LocalizerNetwork

__all__ = ["SmallNet"]


class SmallNet(LocalizerNetwork):
    """Stem and three residual layers, batch-normalised (He et al. 2016), then GAP and a linear classifier.

    Every step down in resolution is symmetric: an even kernel in the stem, averaging of 2x2 before a layer. A 3x3
    convolution of stride 2 with padding 1 looks half a pixel up and left of the cell that it fills, and three of them
    move every map by 3.5 pixels of the input; so maps here stay in place, and mirror when the image is mirrored.

    features: ``(B, 3, S, S)`` -> ``(B, 4 width, S/8, S/8)``; its children ``stem``, ``layer1``, ``layer2`` and
    ``layer3`` work at 1/2, 1/2, 1/4 and 1/8 of the input's side with 1, 1, 2 and 4 times ``width`` channels.
    width 16: 0.08 M parameters and 13 M multiply-adds an image of 64 pixels; 32: 0.31 M and 48 M; 64: 1.2 M and 190 M.
    """

    def __init__(self, num_classes: int, width: int = 32) -> None:
        stem = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        layers = OrderedDict(
            stem=stem,
            layer1=_Residual(width, width),
            layer2=nn.Sequential(nn.AvgPool2d(2), _Residual(width, 2 * width)),
            layer3=nn.Sequential(nn.AvgPool2d(2), _Residual(2 * width, 4 * width)),
        )
        super().__init__(nn.Sequential(layers), 4 * width, num_classes)


class _Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the number of channels changes."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(maps) + self.shortcut(maps))
