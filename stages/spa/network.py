"""A classifier that also gives its class maps, so that they can be restricted (Pan et al., CVPR 2021, section 3.2)."""

import torch
from torch import nn

from stages.vision.backbones.networks import LocalizerNetwork

__all__ = ["RestrictedNetwork"]


class RestrictedNetwork(nn.Module):
    """Logits and class maps of one pass. Its state dict is the classifier's under ``network.``.

    network: trained in place. gives_maps: False skips the maps, for epochs that do not use them.
    """

    def __init__(self, network: LocalizerNetwork) -> None:
        super().__init__()
        self.network = network
        self.gives_maps = True

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits ``(B, C)`` and the class maps A ``(B, C, h, w)`` (or None), of which they are the means.

        images: ``(B, 3, S, S)`` normalised.
        """
        features = self.network.class_features(images)
        classifier = self.network.classifier
        logits = classifier(features.mean(dim=(2, 3)))
        if not self.gives_maps:
            return logits, None
        return logits, nn.functional.conv2d(features, classifier.weight[:, :, None, None], classifier.bias)
