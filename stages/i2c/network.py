"""A classifier that is trained for consistency between images of a class (Zhang et al., ECCV 2020, section 3)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import dropout

from stages.i2c.centres import ClassCentres
from stages.i2c.consistency import stochastic_consistency
from stages.i2c.parameters import Distance, SeedRule
from stages.i2c.seeds import object_region, object_seeds, seed_vectors
from stages.vision.backbones.label_maps import label_maps
from stages.vision.backbones.networks import LocalizerNetwork

__all__ = ["I2cNetwork", "Seeding"]


@dataclass(frozen=True)
class Seeding:
    """How object seeds are chosen.

    number: K, seeds of an image. threshold: delta, of the object region. rule: as in `object_seeds`.
    """

    number: int = 3
    threshold: float = 0.7
    rule: SeedRule = "random"


class I2cNetwork(nn.Module):
    """A classifier and the memory of class centres: logits and the two consistency losses of a batch of pairs.

    The state dict, as in checkpoints, holds classifier, centres and counters.

    network: trained in place. distance: of the stochastic consistency. rate: of dropout before each convolution of the
    head and before the classifier; `network` alone has no dropout. rand: draws the seeds, see `object_seeds`; with its
    own generator, dropout and stochastic depth draw the same numbers as in a plain training.
    communicates: False sets both losses to 0.
    """

    def __init__(
        self,
        network: LocalizerNetwork,
        centres: ClassCentres,
        seeding: Seeding,
        distance: Distance = "euclidean",
        rate: float = 0.0,
        rand: Callable[[int, int], torch.Tensor] = torch.rand,
    ) -> None:
        super().__init__()
        self.network = network
        self.centres = centres
        self.seeding = seeding
        self.distance: Distance = distance
        self.rate = rate
        self.rand = rand
        self.communicates = True

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits ``(B, C)``, L_sc and L_gc; the centres keep what they see until `ClassCentres.update`.

        images: ``(B, 3, S, S)`` normalised; those at 2i and 2i + 1 are a pair. labels: ``(B,)``.
        """
        features = self.network.features(images)
        class_features = self._class_features(features)
        logits = self.network.classifier(class_features.mean(dim=(2, 3)))
        if not self.communicates:
            nothing = torch.zeros((), device=images.device)
            return logits, nothing, nothing
        maps = label_maps(class_features.detach(), self.network.classifier.weight.detach(), labels)
        region = object_region(maps, self.seeding.threshold)
        seeds = object_seeds(region, self.seeding.number, self.seeding.rule, self.rand)
        vectors = seed_vectors(features, seeds)
        return logits, stochastic_consistency(vectors, self.distance), self.centres(vectors, labels)

    def _class_features(self, features: torch.Tensor) -> torch.Tensor:
        """The features that the classifier pools, ``(B, K, h, w)``, with dropout."""
        if self.network.head is None:
            return self._dropped(features)
        maps = features
        for layer in self.network.head.children():
            maps = layer(self._dropped(maps) if isinstance(layer, nn.Conv2d) else maps)
        return self._dropped(maps)

    def _dropped(self, maps: torch.Tensor) -> torch.Tensor:
        return dropout(maps, self.rate, self.training) if self.rate else maps
