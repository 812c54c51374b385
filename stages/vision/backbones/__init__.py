"""Backbones by name, their weights, and reading a layer in passing."""

from stages.vision.backbones.label_maps import label_maps
from stages.vision.backbones.networks import LocalizerNetwork, MapsItself
from stages.vision.backbones.registry import BACKBONES, Backbone, backbone, build, tap_path
from stages.vision.backbones.sources import WeightsError, is_file
from stages.vision.backbones.taps import Tap, tapped
from stages.vision.backbones.taught import TaughtNetwork
from stages.vision.backbones.two_branches import TwoBranchNetwork
from stages.vision.backbones.weights import Loaded, load_state, load_weights, weights_hash

__all__ = [
    "BACKBONES",
    "Backbone",
    "Loaded",
    "LocalizerNetwork",
    "MapsItself",
    "Tap",
    "TaughtNetwork",
    "TwoBranchNetwork",
    "WeightsError",
    "backbone",
    "build",
    "is_file",
    "label_maps",
    "load_state",
    "load_weights",
    "tap_path",
    "tapped",
    "weights_hash",
]
