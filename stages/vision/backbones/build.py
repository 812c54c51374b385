"""Builds a network of the table of backbones."""

from importlib import import_module

import torch

from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.backbones.registry import backbone

__all__ = ["build"]


def build(name: str, num_classes: int, seed: int = 0) -> LocalizerNetwork:
    """Build a network whose initial weights depend on ``seed`` alone; torch's own generator is left as it was."""
    entry = backbone(name)
    module, _, function = entry.builder.rpartition(".")
    builder = getattr(import_module(f"{__package__}.{module}"), function)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: LocalizerNetwork = builder(num_classes, **entry.options)
    network.backbone = name
    return network
