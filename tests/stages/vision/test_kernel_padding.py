import pytest
import torch
from torch import nn

from stages.vision.kernel_padding import SameConv2d, pad_kernels


def tensorflow(conv: nn.Conv2d, maps: torch.Tensor) -> torch.Tensor:
    """The definition: as many outputs as steps begin inside, and the odd row of padding last."""
    edges: list[int] = []
    for side, stride, kernel in zip(maps.shape[2:], conv.stride, conv.kernel_size, strict=True):
        outputs = (side + stride - 1) // stride
        total = max((outputs - 1) * stride + kernel - side, 0)
        edges = [total // 2, total - total // 2, *edges]
    padded = nn.functional.pad(maps, edges)
    return nn.functional.conv2d(padded, conv.weight, conv.bias, conv.stride, groups=conv.groups)


class Same(nn.Conv2d):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return tensorflow(self, maps)


class Even(nn.Conv2d):
    pass


@pytest.mark.parametrize("side", [(16, 16), (15, 15), (16, 13), (3, 8)])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (4, 2), ((3, 5), (2, 1)), (1, 2), (3, 4), (3, 1)])
@pytest.mark.parametrize("groups", [1, 4])
def test_the_definition(side, kernel, stride, groups):
    """Breaks when a side, a kernel or a stride moves the maps by a pixel."""
    torch.manual_seed(0)
    conv, maps = nn.Conv2d(4, 8, kernel, stride, groups=groups), torch.randn(2, 4, *side)
    torch.testing.assert_close(SameConv2d(conv)(maps), tensorflow(conv, maps))


def test_what_pads_so_is_replaced_and_nothing_else():
    """Breaks when a convolution with padding of its own is taken for TensorFlow's, or its weights are lost."""
    network = nn.Sequential(
        Same(3, 6, 3, 2, groups=3),
        nn.Conv2d(6, 6, 3, 2, padding=1, groups=6),
        Even(6, 6, 3, 2, padding=1, groups=6),
        Same(6, 6, 3, 2),
        Same(6, 6, 3, 2, dilation=2, groups=6),
    )
    state, maps = dict(network.state_dict()), torch.randn(2, 3, 64, 64)
    before = network[:4](maps)
    kinds = [type(module) for module in pad_kernels(network)]
    assert kinds == [SameConv2d, nn.Conv2d, Even, Same, Same]
    torch.testing.assert_close(network[:4](maps), before)
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_timm_s_are_replaced():
    """Breaks when timm's convolutions are no longer recognised, and a tenth of each forward pass is copying again."""
    layers = pytest.importorskip("timm.layers")
    network = nn.Sequential(
        layers.Conv2dSame(3, 6, 3, stride=2, groups=3), layers.Conv2dSame(6, 6, 5, stride=2, groups=6)
    )
    maps = torch.randn(1, 3, 30, 31)
    before = network(maps)
    assert [type(module) for module in pad_kernels(network)] == [SameConv2d] * 2
    torch.testing.assert_close(network(maps), before)
