import pytest
import torch
from torch import nn

from stages.vision.backbones.taps import tapped


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 1))


def test_captures_before_the_activation_overwrites():
    """An in-place ReLU after the tapped layer would turn its negative outputs into zeros behind our back."""
    net, images = network(), torch.randn(1, 3, 8, 8)
    with torch.inference_mode(), tapped(net, "0") as tap:
        result = net(images)
    torch.testing.assert_close(tap.output, net[0](images))
    assert (tap.output < 0).any()
    torch.testing.assert_close(result, net(images))


def test_leaves_nothing_behind():
    """A hook left in place keeps the last batch in memory and fires in everybody else's forward passes."""
    net = network()
    with pytest.raises(KeyError), tapped(net, "2"):
        raise KeyError
    assert not any(module._forward_hooks for module in net.modules())
    assert net[1].inplace


def test_errors():
    """A wrong path, and reading before any forward pass, must say so."""
    net = network()
    with pytest.raises(ValueError, match="no module '7'"), tapped(net, "7"):
        pass
    with tapped(net, "0") as tap, pytest.raises(RuntimeError, match="nothing has passed"):
        _ = tap.output
