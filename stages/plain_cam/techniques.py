"""What each technique makes of a classifier: the network that trains, and its loss."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from stages.plain_cam.adl import AttentionDropoutNetwork
from stages.plain_cam.adversarial_erasing import ErasingNetwork, two_branch_loss
from stages.plain_cam.cutmix import Box, mix, mixed_cross_entropy
from stages.plain_cam.guided_network import GuidedNetwork, tap_channels
from stages.plain_cam.hide_and_seek import hide_patches
from stages.plain_cam.parameters import Guides
from stages.plain_cam.two_branches import TwoBranchNetwork
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.memory_format import channels_last
from stages.vision.tensor_normalisation import at_least_float32

__all__ = [
    "Technique",
    "acol",
    "adl",
    "adl_threshold",
    "cutmix",
    "deep_and_shallow",
    "hide_and_seek",
    "no_technique",
    "self_produced_guidance",
]

Loss = Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Technique:
    """A training of a classifier by class labels alone.

    network: what trains, around the classifier. loss: (network, images (B, 3, S, S) normalised, labels (B,)) -> a
    scalar. beside: named parameters that train with the classifier's head and are not kept. together: number
    of consecutive images that stay in one micro batch.
    """

    network: nn.Module
    loss: Loss
    beside: Sequence[tuple[str, nn.Parameter]] = ()
    together: int = 1


def no_technique(network: LocalizerNetwork) -> Technique:
    """Cross-entropy of whole images."""
    return Technique(network, _entropy)


def hide_and_seek(network: LocalizerNetwork, side: int, rate: float, rand: Callable[..., torch.Tensor]) -> Technique:
    """Cross-entropy of images ``(B, 3, S, S)`` with hidden patches, see `hide_patches`."""

    def loss(net: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return _entropy(net, hide_patches(images, side, rate, rand), labels)

    return Technique(network, loss)


def cutmix(network: LocalizerNetwork, draw: Callable[[], Box | None]) -> Technique:
    """Cross-entropy of mixed images and labels, see `mix`; draw: the box of a step."""

    def loss(net: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        mixed = mix(images, labels, draw())
        return mixed_cross_entropy(at_least_float32(net(mixed.images)), mixed)

    return Technique(network, loss, together=2)


def adl(
    network: LocalizerNetwork, paths: Sequence[str], rate: float, threshold: float, draw: Callable[[], float]
) -> Technique:
    """Cross-entropy with attention-based dropout behind the modules at `paths`, see `AttentionDropoutNetwork`."""
    return Technique(AttentionDropoutNetwork(network, paths, rate, threshold, draw), _entropy)


def acol(network: TwoBranchNetwork) -> Technique:
    """Cross-entropy of both branches."""

    def loss(net: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        first, second = net(images, labels)
        return two_branch_loss(first, second, labels)

    return Technique(ErasingNetwork(network), loss)


def self_produced_guidance(
    network: LocalizerNetwork, paths: tuple[str, str], guides: Guides, size: int, seed: int
) -> Technique:
    """Cross-entropy and the guidance loss.

    paths: of the deeper and the shallower layer. size: side of the input, pixels. seed: of the side branches' initial
    weights; torch's own generator is left as it was. Raises: ValueError when the network has no such module.
    """
    deep, shallow = tap_channels(network, paths, size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        guided = GuidedNetwork(network, paths, (deep, shallow), guides)
    guided = channels_last(guided, network.classifier.weight.device)

    def loss(net: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        logits, guidance = net(images, labels)
        return cross_entropy(at_least_float32(logits), labels) + guidance

    return Technique(guided, loss, guided.side_parameters())


def deep_and_shallow(taps: Sequence[str]) -> tuple[str, str]:
    """The second deepest and the shallowest of a backbone's taps, the deepest first; both where there are two.

    Raises: ValueError for a single tap.
    """
    if len(taps) < 2:
        raise ValueError(f"self-produced guidance needs two layers, this backbone has {', '.join(taps)} alone")
    return taps[min(1, len(taps) - 2)], taps[-1]


def adl_threshold(backbone: str) -> float:
    """The usual threshold of attention-based dropout: 0.9 for ResNets and Inceptions, 0.8 for all others."""
    own = backbone.removeprefix("timm:")
    return 0.9 if "resnet" in own or own.startswith("inception") else 0.8


def _entropy(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return cross_entropy(at_least_float32(network(images)), labels)
