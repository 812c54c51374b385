"""A trained classifier ready to be run over images."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import get_args

import torch

from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.model_card import CARD, WEIGHTS, ModelCard, read_card
from stages.vision.model_loaders import ModelLoaders
from stages.vision.models import load_network
from stages.vision.precision import InferencePrecision

__all__ = ["Classifier", "ClassifierCache", "autocast", "images_at_once"]

_MOST_ON_A_CPU = 8

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Classifier:
    """A network in eval mode on its device, and its card."""

    network: LocalizerNetwork
    card: ModelCard


class ClassifierCache:
    """Keeps the classifier that was asked for last, so that a worker loads it once."""

    def __init__(self, device: str, loaders: ModelLoaders) -> None:
        self._device, self._networks = device, loaders.networks
        self._key: str | None = None
        self._model: Classifier | None = None

    def get(self, key: str, blob: Callable[[str], bytes]) -> Classifier:
        """The classifier, cached by the manifest key of its training; `blob` reads a file of its artifact by name.

        Raises: ValueError for a model that is no classifier, or whose method is unknown.
        """
        if self._model is None or key != self._key:
            card = read_card(blob(CARD))
            if not card.is_classifier and card.method not in self._networks:
                raise ValueError(f"a model of method {card.method!r} is no classifier")
            self._model = Classifier(load_network(self._networks, card, blob(WEIGHTS), self._device), card)
            self._key = key
        return self._model


def autocast(device: str, precision: InferencePrecision) -> AbstractContextManager[None]:
    """Autocast for a 16-bit precision, a no-op for `float32`. Raises ValueError for an unknown precision."""
    known = get_args(InferencePrecision)
    if precision not in known:
        raise ValueError(f"precision must be one of {', '.join(known)}, got {precision!r}")
    return torch.autocast(device, dtype=_DTYPES.get(precision, torch.bfloat16), enabled=precision in _DTYPES)


def images_at_once(batch_size: int, device: torch.device | str) -> int:
    """How many images go through a network together: `batch_size`, but on a CPU at most 8.

    Blocks of 32 MB or more, such as the feature maps of more images, go back to the system when glibc frees them, and
    are paged in again for the next batch. At 224 pixels MobileNetV2 and EfficientNet-Lite0 take a third longer in
    batches of 32; no network of six was faster by more than 3 % in batches of 16 or 32.
    """
    return min(batch_size, _MOST_ON_A_CPU) if torch.device(device).type == "cpu" else batch_size
