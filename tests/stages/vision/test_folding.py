import subprocess
import sys
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn

from stages.vision.backbones.build import build
from stages.vision.folding import folded
from tests.stages.vision.trained_looking import normalisations, random_images, with_statistics


def assert_close(before: torch.Tensor, after: torch.Tensor) -> None:
    assert (before - after).abs().max() < 1e-4 * (before.max() - before.min())


class Net(nn.Module):
    """A convolution, a batch normalisation, and a convolution behind them."""

    conv: Any
    norm: Any

    def __init__(self, conv: nn.Module | None = None, norm: nn.Module | None = None) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv = conv or nn.Conv2d(3, 8, 3)
            self.norm = norm or nn.BatchNorm2d(8)
            self.last = nn.Conv2d(8, 8, 1)
        with_statistics(self)

    def forward(self, images: torch.Tensor) -> Any:
        return self.last(self.norm(self.conv(images)).relu_())


class ReadTwice(Net):
    def forward(self, images: torch.Tensor) -> Any:
        maps = self.conv(images)
        return self.last(self.norm(maps).relu() + maps)


class ReturnedToo(Net):
    def forward(self, images: torch.Tensor) -> Any:
        maps = self.conv(images)
        return {"maps": [maps], "last": self.last(self.norm(maps))}


class ChangedBefore(Net):
    def forward(self, images: torch.Tensor) -> Any:
        return self.last(self.norm(self.conv(images).relu_()))


class ConvolvedTwice(Net):
    def forward(self, images: torch.Tensor) -> Any:
        return self.last(self.norm(self.conv(images))) + self.last(self.conv(images.flip(3)))


class NormalisedTwice(Net):
    def forward(self, images: torch.Tensor) -> Any:
        return self.norm(self.last(self.norm(self.conv(images))))


class WeightReadToo(Net):
    def forward(self, images: torch.Tensor) -> Any:
        return self.last(self.norm(self.conv(images))) * self.conv.weight.norm()


class StatisticsReadToo(Net):
    def forward(self, images: torch.Tensor) -> Any:
        return self.last(self.norm(self.conv(images))) * self.norm.running_var.mean()


class TwoPaths(Net):
    def __init__(self) -> None:
        super().__init__()
        self.alias = self.norm

    def forward(self, images: torch.Tensor) -> Any:
        return self.last(self.alias(self.conv(images)))


class PlusOne(nn.BatchNorm2d):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return super().forward(maps) + 1


class WithoutBias(nn.Conv2d):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv2d(maps, self.weight)


class OwnWeights(Net):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, images: torch.Tensor) -> Any:
        return self.last(self.norm(nn.functional.conv2d(images, self.conv.weight * self.scale)))


@pytest.mark.parametrize(
    "network",
    [
        ReadTwice(),
        ReturnedToo(),
        ChangedBefore(),
        ConvolvedTwice(),
        NormalisedTwice(),
        WeightReadToo(),
        StatisticsReadToo(),
        TwoPaths(),
        OwnWeights(),
        Net(norm=PlusOne(8)),
        Net(conv=WithoutBias(3, 8, 3, bias=False)),
        Net(conv=nn.ConvTranspose2d(3, 8, 3)),
        Net(norm=nn.BatchNorm2d(8, track_running_stats=False)),
    ],
    ids=lambda network: type(network).__name__,
)
def test_what_cannot_be_shown_to_be_safe_stays(network):
    """Breaks when a pair is folded although something else reads what changes, or does more than normalise."""
    state = deepcopy(network.state_dict())
    after = folded(network, 16).state_dict()
    assert state.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in state.items())


@pytest.mark.parametrize(
    "network",
    [
        Net(),
        Net(conv=nn.Conv2d(3, 8, 3, bias=False)),
        Net(conv=nn.Conv2d(3, 8, (3, 5), stride=2, padding=2, dilation=2, padding_mode="reflect")),
        Net(conv=nn.Conv2d(3, 9, 1, groups=3), norm=nn.BatchNorm2d(9)),
        Net(norm=nn.BatchNorm2d(8, affine=False, eps=0.1)),
    ],
)
def test_convolutions_of_all_forms_are_folded(network):
    """Breaks when a bias, groups, dilation or a padding of its own is lost, or an epsilon is taken for another."""
    network.last = nn.Conv2d(network.norm.num_features, 8, 1)
    before = network(random_images(16))
    assert_close(before, folded(network, 16)(random_images(16)))
    assert not normalisations(network)
    assert isinstance(network.get_submodule("norm"), nn.Identity)


def test_what_a_tap_shows_stays():
    """Breaks when a tap on a convolution shows what the batch normalisation makes of it."""
    assert normalisations(folded(Net(), 16, taps=["conv"])) == ["norm"]
    assert normalisations(folded(Net(), 16, taps=["norm", "last"])) == []


def test_channels_last_and_gradients_stay():
    """Breaks when folded weights are slow ones, or Grad-CAM cannot pass through a network folded in inference mode."""
    network = Net().to(memory_format=torch.channels_last)
    with torch.inference_mode():
        folded(network, 16)
    assert network.conv.weight.is_contiguous(memory_format=torch.channels_last)
    network(random_images(16)).sum().backward()
    assert network.conv.weight.grad is not None


def test_the_same_network_is_folded_into_the_same_bytes():
    """Breaks when two workers that share a shard's images compute with different weights."""
    one, other = (folded(with_statistics(build("smallnet", 2)), 64).state_dict() for _ in range(2))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_a_size_that_the_network_refuses_leaves_it_alone():
    """Breaks when a stage with an input size of its own fails while the model is loaded."""
    assert normalisations(folded(Net(), 1)) == ["norm"]


def test_torch_s_compiler_is_not_imported():
    """Breaks when every actor imports it for seconds before its first image."""
    said = (
        "import sys, torch; from torch import nn; from stages.vision.folding import folded\n"
        "net = folded(nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)).eval(), 8)\n"
        "assert isinstance(net[1], nn.Identity) and 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", said], check=True)
