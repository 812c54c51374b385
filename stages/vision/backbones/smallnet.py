"""A small residual network for images of about 64 pixels, fast enough to train from scratch on a CPU."""

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
    blocks: residual blocks of each layer. One block each, width 16: 0.08 M parameters and 13 M multiply-adds an image
    of 64 pixels; width 32: 0.31 M and 48 M; width 48 with 1, 2 and 2 blocks: 1.5 M.
    """

    def __init__(self, num_classes: int, width: int = 16, blocks: tuple[int, int, int] = (1, 1, 1)) -> None:
        stem = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            stem=stem,
            layer1=nn.Sequential(*_residuals(width, width, blocks[0])),
            layer2=nn.Sequential(nn.AvgPool2d(2), *_residuals(width, 2 * width, blocks[1])),
            layer3=nn.Sequential(nn.AvgPool2d(2), *_residuals(2 * width, 4 * width, blocks[2])),
        )
        super().__init__(nn.Sequential(layers), 4 * width, num_classes)


def _residuals(channels_in: int, channels_out: int, number: int) -> list[nn.Module]:
    """Blocks in a row; the first changes the number of channels."""
    return [_Residual(channels_in if block == 0 else channels_out, channels_out) for block in range(number)]


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
