"""Model artifacts: a network saved as safetensors bytes and a card, and loaded from them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pkgutil import resolve_name

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from stages.vision.backbones.build import build
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.backbones.weights import weights_hash
from stages.vision.inference_network import for_inference
from stages.vision.memory_format import Network, channels_last
from stages.vision.model_card import CARD, WEIGHTS, ModelCard

__all__ = ["LoadNetwork", "load_network", "plain_network", "read_weights", "ready", "to_blobs"]

LoadNetwork = Callable[[ModelCard, bytes, str], LocalizerNetwork]
"""(card, safetensors bytes, device) -> the network in eval mode on the device."""


def to_blobs(network: nn.Module, card: ModelCard) -> dict[str, bytes]:
    """The two files of a model; the card gains the hash of the weights. The same weights give the same bytes."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(network.state_dict().items())}
    return {WEIGHTS: save(state), CARD: replace(card, weights_hash=weights_hash(network)).to_bytes()}


def load_network(networks: Mapping[str, str], card: ModelCard, weights: bytes, device: str) -> LocalizerNetwork:
    """The network of a model that classifies, ready to predict, see `for_inference`.

    networks: method -> ``module:function``, a `LoadNetwork`, of the methods whose networks have more parts than a
    classifier. Raises: ValueError for a card or weights that do not fit.
    """
    loader: LoadNetwork = plain_network if card.is_classifier else resolve_name(networks[card.method])
    network = loader(card, weights, device)
    return for_inference(network, card.input_size, network.tap_names.paths.values() if network.backbone else ())


def plain_network(card: ModelCard, weights: bytes, device: str = "cpu") -> LocalizerNetwork:
    """The network of an ordinary classifier, in eval mode, channels last; trainings start from it."""
    network = build(card.backbone, card.num_classes)
    network.preprocessing = card.preprocessing
    return ready(network, weights, device)


def ready(network: Network, weights: bytes, device: str) -> Network:
    """Fill a network with safetensors bytes and make it ready to predict. Raises ValueError for unfit weights."""
    try:
        network.load_state_dict(read_weights(weights))
    except RuntimeError as error:
        first = " ".join(str(error).split("\n\t")[1:2])
        raise ValueError(f"the model's weights do not fit its network: {first[:200]}") from error
    network.eval()
    return channels_last(network, device)


def read_weights(weights: bytes) -> dict[str, torch.Tensor]:
    """The tensors of safetensors bytes, by name. Raises ValueError for other bytes."""
    try:
        return load(weights)
    except SafetensorError as error:
        raise ValueError(f"the model's weights are damaged: {error}") from error
