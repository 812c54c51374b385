"""Uneven padding moved from images to kernels, for networks that only predict.

TensorFlow's "same" padding, which networks that were converted from it keep, puts one row more behind an image than
before it where a stride is 2. torch pads evenly, so the image is copied into a larger one first, which takes
longer than a depthwise convolution of it. A kernel with as many rows of zeros before its own gives the same result
under even padding.
"""

from copy import deepcopy

import torch
from torch import nn

from stages.vision.memory_format import Network

__all__ = ["SameConv2d", "pad_kernels"]


class SameConv2d(nn.Module):
    """A convolution under TensorFlow's "same" padding: ceil(side / stride) outputs, the odd row of padding last.

    It takes the parameters of a convolution without dilation and ignores that one's `padding`.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias, self.groups = conv.weight, conv.bias, conv.groups
        self.stride, self.kernel_size = tuple(conv.stride), tuple(conv.kernel_size)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """``(B, C, h, w)`` -> ``(B, K, ceil(h / stride), ceil(w / stride))``."""
        rows, columns = (
            max((-(-side // stride) - 1) * stride + kernel - side, 0)
            for side, stride, kernel in zip(maps.shape[2:], self.stride, self.kernel_size, strict=True)
        )
        weight = nn.functional.pad(self.weight, (columns % 2, 0, rows % 2, 0))
        padding = (rows + 1) // 2, (columns + 1) // 2
        return nn.functional.conv2d(maps, weight, self.bias, self.stride, padding, groups=self.groups)


def pad_kernels(network: Network) -> Network:
    """Replace each depthwise convolution by a `SameConv2d`, if that gives the same outputs.

    For other convolutions the larger kernel costs more than the copy. The network is changed and returned; module paths
    and parameters stay. network: in eval mode.
    """
    with torch.inference_mode(False), torch.no_grad():
        for path, module in list(network.named_modules()):
            if isinstance(module, nn.Conv2d) and type(module) is not nn.Conv2d and _pads_the_same(module):
                parent, _, name = path.rpartition(".")
                setattr(network.get_submodule(parent), name, SameConv2d(module))
    return network


def _pads_the_same(conv: nn.Conv2d) -> bool:
    """Whether a convolution gives the same outputs as `SameConv2d`, for even and for odd sides."""
    depthwise = conv.groups == conv.in_channels > 1
    if not depthwise or conv.stride == (1, 1) or conv.dilation != (1, 1):
        return False
    tried = deepcopy(conv).cpu()
    generator = torch.Generator().manual_seed(0)
    for more in (0, 1):
        sides = [kernel + 4 + more for kernel in conv.kernel_size]
        maps = torch.randn(1, conv.in_channels, *sides, generator=generator)
        before, after = tried(maps), SameConv2d(tried)(maps)
        if before.shape != after.shape or not torch.allclose(before, after, rtol=1e-4, atol=1e-5):
            return False
    return True
