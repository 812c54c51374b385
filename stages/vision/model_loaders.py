"""How models of each method are loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["ModelLoaders"]


@dataclass(frozen=True)
class ModelLoaders:
    """Loaders by the method on a model's card, each as ``module:name``, so that naming them imports nothing.

    networks: of the methods whose networks have more parts than a classifier, see `stages.vision.models.LoadNetwork`.
    predictors: of those that do not predict by a classifier's logits, see `stages.vision.predictor.LoadPredictor`.
    """

    networks: Mapping[str, str] = field(default_factory=dict)
    predictors: Mapping[str, str] = field(default_factory=dict)
