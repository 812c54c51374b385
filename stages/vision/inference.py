"""A trained classifier ready to be run over images."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from stages.vision.backbones import LocalizerNetwork
from stages.vision.models import CARD, WEIGHTS, classifier_network, read_card

PRECISIONS = ("float32", "bfloat16")
"""What networks are trained in."""

INFERENCE_PRECISIONS = (*PRECISIONS, "float16", "auto")
"""What maps and predictions are made in; `auto` is bfloat16 for `BFLOAT16_AGREES`, float32 for all others."""

BFLOAT16_AGREES: frozenset[str] = frozenset()
"""Backbones whose boxes were measured to agree in bfloat16 and float32, see docs/backbones.md."""

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Classifier:
    """A network in eval mode on its device, and its card."""

    network: LocalizerNetwork
    card: dict[str, Any]

    def check_labels(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Refuse images whose label is another class in the card, or none; raises ValueError with the first one."""
        if "classes" not in self.card:
            return
        classes = dict(enumerate(self.card["classes"]))
        for row in rows:
            if (known := classes.get(row["label"])) != row["label_name"]:
                image = f"image {row['image_id']} is of class {row['label']}, {row['label_name']!r}"
                raise ValueError(f"{image}; the model's class of that number is {known!r}")


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


def precision_ingredients(precision: str) -> dict[str, Any]:
    """What else the results of a stage of this precision depend on, for its recipe."""
    return {"bfloat16": sorted(BFLOAT16_AGREES)} if precision == "auto" else {}


def autocast(device: str, precision: str, backbone: str = "") -> AbstractContextManager[Any]:
    """Mixed precision for a 16-bit one, nothing for `float32`; `auto` goes by the backbone, on every device alike.

    Raises ValueError for another precision.
    """
    if precision not in INFERENCE_PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(INFERENCE_PRECISIONS)}, got {precision!r}")
    if precision == "auto":
        precision = "bfloat16" if backbone in BFLOAT16_AGREES else "float32"
    return torch.autocast(device, dtype=_DTYPES.get(precision, torch.bfloat16), enabled=precision in _DTYPES)
