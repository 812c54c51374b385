"""The Aggregation Net of SGRM: two 3x3 convolutions and a 1x1, each normalised, with weights of its own for each image.

Pan et al., AAAI 2023, section "Self-Guided Re-prediction Module", which leaves the layers open; these are the ones of
its ancestor (Kanezaki, "Unsupervised image segmentation by backpropagation", ICASSP 2018): convolution, ReLU, batch
normalisation, twice, then a 1x1 convolution and batch normalisation. Statistics are those of the image itself. The last
convolution has no bias, because its normalization would remove it.

B networks run as one, by grouped convolutions. This is the definition, on any device;
:mod:`stages.sgrm.by_hand.aggregation_net` is a faster form for one image.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from torch.nn.functional import batch_norm, conv2d

from stages.sgrm.parameters import SgrmParameters

__all__ = ["EPSILON", "AggregationNets", "Weights", "initial_weights"]

EPSILON = 1e-5
"""Added to variances before their root."""


class Weights(NamedTuple):
    """The weights of B networks with C hidden channels, float32, image axis first; also their gradients, or momenta.

    first: ``(B, C, 3, 3, 3)``; second: ``(B, C, C, 3, 3)``; last: ``(B, 2, C, 1, 1)``, background before object. The
    other names: bias, and the gain and shift of the normalisation.
    """

    first: torch.Tensor
    first_bias: torch.Tensor
    first_gain: torch.Tensor
    first_shift: torch.Tensor
    second: torch.Tensor
    second_bias: torch.Tensor
    second_gain: torch.Tensor
    second_shift: torch.Tensor
    last: torch.Tensor
    last_gain: torch.Tensor
    last_shift: torch.Tensor


def initial_weights(seeds: Sequence[int], channels: int) -> Weights:
    """Random weights; those of an image depend on its seed alone, not on other images or on the device.

    Kernels and biases are uniform in [-1, 1] / sqrt(fan-in), as usual; gains 1, shifts 0.
    """
    made = [_initial(torch.Generator().manual_seed(seed), channels) for seed in seeds]
    return Weights(*(torch.stack(parts) for parts in zip(*made, strict=True)))


def _initial(generator: torch.Generator, channels: int) -> Weights:
    def uniform(*shape: int, size: int) -> torch.Tensor:
        return (2 * torch.rand(shape, generator=generator) - 1) / size**0.5

    ones, zeros, inner = torch.ones(channels), torch.zeros(channels), 9 * channels
    return Weights(
        uniform(channels, 3, 3, 3, size=27), uniform(channels, size=27), ones, zeros,
        uniform(channels, channels, 3, 3, size=inner), uniform(channels, size=inner), ones, zeros,
        uniform(2, channels, 1, 1, size=channels), torch.ones(2), torch.zeros(2),
    )  # fmt: skip


class AggregationNets:
    """B networks in training, one for each of B images.

    images: ``(B, 3, H, W)`` float32 in [0, 1], on the device that computes.
    """

    def __init__(self, images: torch.Tensor, weights: Weights, parameters: SgrmParameters) -> None:
        self._images, self._parameters = images, parameters
        self._weights = Weights(*(part.to(images.device) for part in weights))
        self._speeds = Weights(*(torch.zeros_like(part) for part in self._weights))
        self._outputs: torch.Tensor | None = None

    def margins(self) -> torch.Tensor:
        """Object minus background at every pixel, ``(B, H W)`` float32, with the present weights."""
        self._weights = Weights(*(part.detach().requires_grad_() for part in self._weights))
        with _exact(), torch.enable_grad():
            self._outputs = outputs(self._images, self._weights)
        background, found = self._outputs.detach().flatten(2).unbind(1)
        return found - background

    def step(self, gradient: torch.Tensor) -> None:
        """One step of SGD; gradient: of the loss by the last `margins`, ``(B, H W)``."""
        assert self._outputs is not None, "margins come first"
        to_outputs = torch.stack([-gradient, gradient], dim=1).view_as(self._outputs)
        with _exact():
            slopes = torch.autograd.grad(self._outputs, list(self._weights), to_outputs)
        self._outputs = None
        rate, momentum = self._parameters.learning_rate, self._parameters.momentum
        with torch.no_grad():
            for weight, speed, slope in zip(self._weights, self._speeds, slopes, strict=True):
                weight -= rate * speed.mul_(momentum).add_(slope)

    def keep(self, images: torch.Tensor) -> None:
        """Keep the networks of some images, ``(B,)`` bool, and drop the others."""
        self._images = self._images[images]
        self._weights = Weights(*(part.detach()[images] for part in self._weights))
        self._speeds = Weights(*(part[images] for part in self._speeds))
        self._outputs = None


def outputs(images: torch.Tensor, weights: Weights) -> torch.Tensor:
    """Outputs ``(B, 2, H, W)`` of B networks for their images ``(B, 3, H, W)``, background before object."""
    number, _, height, width = images.shape
    values = images.reshape(1, -1, height, width)
    values = conv2d(values, weights.first.flatten(0, 1), weights.first_bias.flatten(), padding=1, groups=number)
    values = _normalised(values.relu(), weights.first_gain, weights.first_shift)
    values = conv2d(values, weights.second.flatten(0, 1), weights.second_bias.flatten(), padding=1, groups=number)
    values = _normalised(values.relu(), weights.second_gain, weights.second_shift)
    values = conv2d(values, weights.last.flatten(0, 1), groups=number)
    return _normalised(values, weights.last_gain, weights.last_shift).view(number, 2, height, width)


def _normalised(values: torch.Tensor, gain: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Each channel of each image by its own mean and deviation."""
    return batch_norm(values, None, None, gain.flatten(), shift.flatten(), training=True, eps=EPSILON)


def _exact() -> AbstractContextManager[None]:
    """Full float32 and deterministic results of cuDNN: the iterations magnify every rounding error."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
