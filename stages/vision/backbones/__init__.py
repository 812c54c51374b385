"""Backbones by name, their weights, and reading a layer in passing."""

from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.backbones.registry import BACKBONES, Backbone, backbone, build, tap_path
from stages.vision.backbones.sources import WeightsError, is_file
from stages.vision.backbones.taps import Tap, tapped
from stages.vision.backbones.weights import Loaded, load_state, load_weights, weights_hash

__all__ = [
    "BACKBONES",
    "Backbone",
    "Loaded",
    "LocalizerNetwork",
    "Tap",
    "WeightsError",
    "backbone",
    "build",
    "is_file",
    "load_state",
    "load_weights",
    "tap_path",
    "tapped",
    "weights_hash",
]
