"""A tiny vision transformer as a classifier of the six made images."""

from typing import Any

import torch

from stages import catalog
from stages.vision.backbones.build import build
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.model_card import CARD, WEIGHTS, ModelCard, read_card
from stages.vision.models import load_network, to_blobs

BACKBONE = "vit_tiny_p8"


def blobs() -> dict[str, bytes]:
    """A model as stage classify makes it of given weights: seeded here, all layers fresh."""
    card = ModelCard("classify", BACKBONE, ("cat", "dog"), input_size=64, seed=5)
    return to_blobs(build(BACKBONE, 2, seed=5), card)


def network_of(made: dict[str, bytes]) -> Any:
    """The network of an artifact, as stages cam and localize load it."""
    return load_network(catalog.LOADERS.networks, read_card(made[CARD]), made[WEIGHTS], "cpu")


def student() -> LocalizerNetwork:
    """The network that `blobs` keeps."""
    network: LocalizerNetwork = network_of(blobs())
    return network


def tensors(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Copies of all parameters and buffers."""
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}
