"""Depthwise convolutions whose gradients are convolutions: against torch's own gradients, and in float64 by steps."""

import pytest
import torch
from torch import nn

from stages.vision.backbones.build import build
from stages.vision.backbones.dilated_depthwise import DilatedDepthwiseConv2d, _Convolution, quick_gradients


def depthwise(kernel, dilation, padding, bias=False, channels=6):
    torch.manual_seed(0)
    return nn.Conv2d(channels, channels, kernel, padding=padding, dilation=dilation, groups=channels, bias=bias)


def gradients(conv, maps, weigh):
    """The gradients of a weighted sum of the outputs: by the maps, then by each parameter."""
    maps = maps.clone().requires_grad_()
    return torch.autograd.grad((conv(maps) * weigh).sum(), [maps, *conv.parameters()])


@pytest.mark.parametrize(
    ("kernel", "dilation", "padding"),
    [(3, 2, 2), (5, 2, 4), (3, 4, 4), (3, 2, 0), (5, 3, 1), ((3, 5), (2, 3), (2, 6)), ((1, 3), (1, 2), (0, 2))],
)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_are_those_of_torch(kernel, dilation, padding, bias, layout):
    """Breaks when a kernel is not turned, a padding is off by one, or an image's gradient gets to another's."""
    conv = depthwise(kernel, dilation, padding, bias).to(memory_format=layout)
    maps = torch.randn(3, 6, 17, 14).contiguous(memory_format=layout)
    quick, outputs = DilatedDepthwiseConv2d(conv), conv(maps)
    torch.testing.assert_close(quick(maps), outputs)
    weigh = torch.randn_like(outputs)
    for found, expected in zip(gradients(quick, maps, weigh), gradients(conv, maps, weigh), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kernel", "dilation", "padding"), [(3, 2, 2), ((3, 5), (2, 3), (1, 6))])
def test_gradients_are_slopes(kernel, dilation, padding):
    """Breaks when the gradients are those of another function, whatever torch says."""
    conv = depthwise(kernel, dilation, padding, channels=2).double()
    maps = torch.randn(2, 2, 5, 7, dtype=torch.float64)
    arguments = maps.requires_grad_(), conv.weight, conv.padding, conv.dilation
    assert torch.autograd.gradcheck(_Convolution.apply, arguments)


def test_only_what_is_slow_is_replaced_and_shares_its_parameters():
    """Breaks when another convolution is replaced, or an optimizer holds parameters that the network no longer has."""
    dilated = depthwise(3, 2, 2)
    others = [
        depthwise(3, 1, 1),
        nn.Conv2d(6, 6, 3, padding=2, dilation=2),
        nn.Conv2d(6, 6, 3, 2, padding=2, dilation=2, groups=6),
        nn.Conv2d(6, 12, 3, padding=2, dilation=2, groups=6),
        nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=6, padding_mode="reflect"),
        nn.Conv2d(6, 6, 3, padding="same", dilation=2, groups=6),
        nn.Conv2d(6, 6, 1, padding=1, dilation=2, groups=6),
    ]
    network = nn.Sequential(dilated, *others)
    before, names = list(network.parameters()), list(network.state_dict())
    assert quick_gradients(network) is network
    assert [type(module) for module in network] == [DilatedDepthwiseConv2d, *[nn.Conv2d] * len(others)]
    assert all(one is other for one, other in zip(network.parameters(), before, strict=True))
    assert list(network.state_dict()) == names


def test_a_network_without_its_last_stride_has_them():
    """Breaks when timm's networks get dilated convolutions under another name, and trainings are slow again."""
    pytest.importorskip("timm")
    kinds = [type(module) for module in build("efficientnet_lite0@16", 2).modules()]
    assert kinds.count(DilatedDepthwiseConv2d) == 4
    assert DilatedDepthwiseConv2d not in [type(module) for module in build("efficientnet_lite0", 2).modules()]
