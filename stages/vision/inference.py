"""A trained classifier ready to be run over images."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from stages.vision.backbones import LocalizerNetwork
from stages.vision.models import CARD, WEIGHTS, classifier_network, read_card

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Classifier:
    """A network in eval mode on its device, and its card."""

    network: LocalizerNetwork
    card: dict[str, Any]


class ClassifierCache:
    """Keeps the classifier that was asked for last, so that a worker loads it once."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._key: str | None = None
        self._model: Classifier | None = None

    def get(self, key: str, blob: Callable[[str], bytes]) -> Classifier:
        """The classifier known by `key`; `blob` reads a file of its artifact by name."""
        if self._model is None or key != self._key:
            card = read_card(blob(CARD))
            self._model = Classifier(classifier_network(card, blob(WEIGHTS), self._device), card)
            self._key = key
        return self._model


def autocast(device: str, precision: str) -> AbstractContextManager[Any]:
    """Mixed precision for `bfloat16`, nothing for `float32`. Raises ValueError for another precision."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    return torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bfloat16")
