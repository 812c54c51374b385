"""A classifier whose class maps supervise its own layers (Zhang et al., ECCV 2018: SPG, section 3 and figure 2)."""

from collections.abc import Sequence

import torch
from torch import nn

from stages.plain_cam.parameters import Guides
from stages.plain_cam.self_produced_guidance import guided_loss
from stages.vision.backbones.label_maps import label_maps
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.backbones.taps import tapped
from stages.vision.tensor_normalisation import at_least_float32, min_max

__all__ = ["GuidedNetwork", "tap_channels"]

_WIDEST = 512


class GuidedNetwork(nn.Module):
    """Logits and the guidance loss of one pass. Only the classifier is kept and tested.

    B2 and B1 see a deeper and a shallower layer and share all but their first convolution; C sees the class features.
    Each ends in one logit per position. They are at most 512 channels wide, and no wider than the deeper layer.

    network: trained in place. paths: module paths of the deeper and the shallower layer; channels: theirs.
    """

    def __init__(
        self, network: LocalizerNetwork, paths: tuple[str, str], channels: tuple[int, int], guides: Guides
    ) -> None:
        super().__init__()
        width = min(_WIDEST, channels[0])
        self.network = network
        self.paths = paths
        self.guides = guides
        self.deep = _convolution(channels[0], width)
        self.shallow = _convolution(channels[1], width)
        self.shared = nn.Sequential(_convolution(width, width), nn.Conv2d(width, 1, 1))
        self.fused = nn.Sequential(_convolution(network.classifier.in_features, width), nn.Conv2d(width, 1, 1))

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits ``(B, C)`` and the sum of the three guided losses, a scalar.

        images: ``(B, 3, S, S)`` normalised; labels: ``(B,)`` int64. The guides pass no gradient on.
        """
        network = self.network
        with tapped(network, self.paths[0]) as deep_tap, tapped(network, self.paths[1]) as shallow_tap:
            features = network.class_features(images)
        attention = min_max(label_maps(features.detach(), network.classifier.weight.detach(), labels))
        deep = self.shared(self.deep(deep_tap.output)).squeeze(1)
        shallow = self.shared(self.shallow(shallow_tap.output)).squeeze(1)
        guidance = (
            guided_loss(deep, attention, self.guides.attention)
            + guided_loss(shallow, deep.sigmoid(), self.guides.deep)
            + guided_loss(self.fused(features).squeeze(1), _mean_sigmoid(deep, shallow), self.guides.fused)
        )
        return network.classifier(features.mean(dim=(2, 3))), guidance

    def side_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """The named parameters beside those of the classifier."""
        return [(name, value) for name, value in self.named_parameters() if not name.startswith("network.")]


def tap_channels(network: nn.Module, paths: Sequence[str], size: int) -> tuple[int, ...]:
    """Numbers of channels of layers, by a pass over a blank image of `size` pixels; leaves the network in eval mode.

    Raises: ValueError when the network has no such module.
    """
    parameter = next(network.parameters())
    blank = torch.zeros(1, 3, size, size, device=parameter.device, dtype=parameter.dtype)
    channels = []
    for path in paths:
        with torch.no_grad(), tapped(network.eval(), path) as tap:
            network(blank)
        channels.append(tap.output.shape[1])
    return tuple(channels)


def _convolution(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True))


def _mean_sigmoid(deep: torch.Tensor, shallow: torch.Tensor) -> torch.Tensor:
    """The mean of both maps, on the shallower one's grid."""
    fitted = nn.functional.interpolate(
        at_least_float32(deep.detach()).sigmoid().unsqueeze(1), shallow.shape[-2:], mode="bilinear", align_corners=False
    ).squeeze(1)
    return (fitted + at_least_float32(shallow.detach()).sigmoid()) / 2
