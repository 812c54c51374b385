"""The table of backbones: what can be built by name, for which input size, and where its descriptors are read."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import torch

from stages.vision.backbones import networks
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.backbones.smallnet import SmallNet

__all__ = ["BACKBONES", "Backbone", "backbone", "build", "tap_path"]


@dataclass(frozen=True)
class Backbone:
    """One entry of the table.

    builder: number of classes -> network with fresh weights.
    input_size: side in pixels of the square that the paper's setting feeds the network.
    taps: name of a layer in the literature -> module path inside the network; the first is the default.
    """

    name: str
    builder: Callable[[int], LocalizerNetwork]
    input_size: int
    taps: Mapping[str, str]

    @property
    def default_tap(self) -> str:
        """Name of the tap that is read when none is asked for."""
        return next(iter(self.taps))


_SMALLNET_TAPS = {"layer3": "features.layer3", "layer2": "features.layer2", "layer1": "features.layer1"}
_MOBILENET_TAPS = {"features": "features", "block13": "features.13"}
_RESNET_TAPS = {"layer4": "features.layer4", "layer3": "features.layer3"}
_VGG16_TAPS = {"pool5": "features.30", "relu5_3": "features.29", "relu4_3": "features.22"}

BACKBONES: Mapping[str, Backbone] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            Backbone("smallnet", partial(SmallNet, width=16), 64, _SMALLNET_TAPS),
            Backbone("smallnet_wide", partial(SmallNet, width=48, blocks=(1, 2, 2)), 64, _SMALLNET_TAPS),
            Backbone("mobilenet_v2", networks.mobilenet_v2, 224, _MOBILENET_TAPS),
            Backbone("resnet50", networks.resnet50, 224, _RESNET_TAPS),
            Backbone("vgg16_gap", networks.vgg16, 224, _VGG16_TAPS),
            Backbone("vgg16", networks.vgg16, 448, _VGG16_TAPS),
        )
    }
)


def backbone(name: str) -> Backbone:
    """Look a backbone up; an unknown name is a ValueError that names the nearest known one."""
    if name not in BACKBONES:
        raise ValueError(_unknown("backbone", name, BACKBONES))
    return BACKBONES[name]


def build(name: str, num_classes: int, seed: int = 0) -> LocalizerNetwork:
    """Build a network whose initial weights depend on ``seed`` alone; torch's own generator is left as it was."""
    entry = backbone(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return entry.builder(num_classes)


def tap_path(name: str, tap: str | None = None) -> str:
    """Module path of a backbone's tap (None: its default); an unknown tap is a ValueError naming the nearest."""
    entry = backbone(name)
    tap = entry.default_tap if tap is None else tap
    if tap not in entry.taps:
        raise ValueError(_unknown(f"tap of {name}", tap, entry.taps))
    return entry.taps[tap]


def _unknown(kind: str, name: str, known: Mapping[str, object]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
    return f"unknown {kind} {name!r}: did you mean {nearest!r}? Known: {', '.join(known)}"
