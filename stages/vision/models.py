"""Model artifacts: a network as safetensors bytes and a JSON card that says how to build it again."""

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from stages.vision.backbones import LocalizerNetwork, TaughtNetwork, TwoBranchNetwork, build, weights_hash
from stages.vision.tensor_bytes import load, save

WEIGHTS = "model.safetensors"
CARD = "card.json"


def to_blobs(network: nn.Module, card: Mapping[str, Any]) -> dict[str, bytes]:
    """The two files of a model; the card gains `weights_hash`. The same weights give the same bytes."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(network.state_dict().items())}
    full = {**card, "weights_hash": weights_hash(network)}
    return {WEIGHTS: save(state), CARD: json.dumps(full, indent=1, sort_keys=True).encode()}


def read_card(data: bytes) -> dict[str, Any]:
    """The card from its bytes."""
    card: dict[str, Any] = json.loads(data)
    return card


def classifier_network(card: Mapping[str, Any], weights: bytes, device: str = "cpu") -> LocalizerNetwork:
    """The network of a classifier's card, in eval mode, channels last.

    card: `backbone` and `num_classes`; `acol_threshold` where there is a second branch (ACoL); `teacher_hidden` where a
    teacher gives the classes (SD-CAM).
    """
    network = build(card["backbone"], card["num_classes"])
    if "acol_threshold" in card:
        network = TwoBranchNetwork(network, card["acol_threshold"])
    if "teacher_hidden" in card:
        network = TaughtNetwork(network, card["teacher_hidden"])
    return ready(network, weights, device)


def ready(network: LocalizerNetwork, weights: bytes, device: str) -> LocalizerNetwork:
    """Fill a network with safetensors bytes and make it ready to predict."""
    network.load_state_dict(load(weights))
    return network.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
