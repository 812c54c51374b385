"""Backbones by name, their weights, and reading a layer in passing."""

from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.backbones.registry import BACKBONES, Backbone, backbone, build, tap_path
from stages.vision.backbones.taps import Tap, tapped
from stages.vision.backbones.weights import WeightsError, load_weights, weights_hash

__all__ = [
    "BACKBONES",
    "Backbone",
    "LocalizerNetwork",
    "Tap",
    "WeightsError",
    "backbone",
    "build",
    "load_weights",
    "tap_path",
    "tapped",
    "weights_hash",
]
