"""The Aggregation Net of one image on a CPU: :mod:`stages.sgrm.aggregation_net` written out, about twice as fast.

What is saved: the second convolution, nearly all of the work, takes 4/9 of the products (`winograd`); a normalisation
is a scale and a shift that the next layer applies as it reads; the gradient before the second normalisation is of rank
2 and a multiple of the values, so it is never stored as such; the image's patches are cut out once. Nothing holds the
GIL for long, so images run side by side in threads.
"""

from typing import NamedTuple

import numba
import numpy as np
import torch

from stages.sgrm.aggregation_net import EPSILON, Weights
from stages.sgrm.by_hand import winograd
from stages.sgrm.parameters import SgrmParameters

__all__ = ["AggregationNet"]

_ANY_ORDER = {"reassoc", "contract", "nsz"}
_BLOCK = 512


class _Normalised(NamedTuple):
    """A normalisation with its statistics folded in: ``scale * value + shift``; all are ``(C,)`` float64.

    Without gain and shift it is ``inverse * (value - mean)``.
    """

    mean: np.ndarray
    inverse: np.ndarray
    scale: np.ndarray
    shift: np.ndarray

    @property
    def single(self) -> tuple[np.ndarray, np.ndarray]:
        """Scale and shift as float32."""
        return self.scale.astype(np.float32), self.shift.astype(np.float32)


class AggregationNet:
    """The network of one image in training; `margins`, `step` and `keep` are those of `AggregationNets` for B = 1.

    image: ``(1, 3, H, W)`` float32 in [0, 1]. BLAS should have one thread.
    """

    def __init__(self, image: torch.Tensor, weights: Weights, parameters: SgrmParameters) -> None:
        height, width = image.shape[2:]
        self._parameters, self._pixels = parameters, height * width
        self._patches = _patches(image[0])
        self._weights = _transposed(weights)
        self._speeds = {name: np.zeros_like(value) for name, value in self._weights.items()}
        channels = parameters.channels
        self._first = np.empty((height, width, channels), np.float32)
        self._second = np.empty((height, width, channels), np.float32)
        even = 2 * ((height + 1) // 2) + 2, 2 * ((width + 1) // 2) + 2
        self._to_first = np.empty((*even, channels), np.float32)
        self._to_products = np.empty((16, channels, channels), np.float32)

    def margins(self) -> torch.Tensor:
        """Object minus background at every pixel, ``(1, H W)`` float32."""
        w = self._weights
        sums, squares = _first_layer(self._patches, w["first"], self._first.reshape(self._pixels, -1))
        self._norm1 = self._folded(sums, squares, w["first_gain"], w["first_shift"])
        self._products = winograd.kernel_products(w["second"])
        winograd.forward(self._first, *self._norm1.single, self._products, w["second_bias"], self._second)
        flat = self._second.reshape(self._pixels, -1)
        self._norm2 = self._folded(*_moments(flat), w["second_gain"], w["second_shift"])
        weighted = (self._norm2.scale * w["last"]).astype(np.float32)
        outputs = _two_outputs(flat, weighted) + w["last"].astype(np.float64) @ self._norm2.shift
        self._centred = outputs - outputs.mean(axis=0)
        self._inverse3 = 1 / np.sqrt((self._centred**2).mean(axis=0) + EPSILON)
        found = self._centred * (self._inverse3 * w["last_gain"]) + w["last_shift"]
        return torch.from_numpy((found[:, 1] - found[:, 0]).astype(np.float32))[None]

    def step(self, gradient: torch.Tensor) -> None:
        """One step of SGD; gradient: of the loss by the last `margins`, ``(1, H W)``."""
        slopes = self._slopes(gradient[0].double().numpy())
        rate, momentum = self._parameters.learning_rate, self._parameters.momentum
        for name, slope in slopes.items():
            speed = self._speeds[name]
            speed *= np.float32(momentum)
            speed += slope
            self._weights[name] -= np.float32(rate) * speed

    def keep(self, images: torch.Tensor) -> None:
        """Does nothing: the batch has one image, and it is kept."""

    def _folded(self, sums: np.ndarray, squares: np.ndarray, gain: np.ndarray, shift: np.ndarray) -> _Normalised:
        mean = sums / self._pixels
        inverse = 1 / np.sqrt(np.maximum(squares / self._pixels - mean**2, 0) + EPSILON)
        scale = gain * inverse
        return _Normalised(mean, inverse, scale, shift - mean * scale)

    def _slopes(self, gradient: np.ndarray) -> dict[str, np.ndarray]:
        """Gradients of all weights, given that of the margins ``(N,)``."""
        w, number, slopes = self._weights, self._pixels, {}
        found = np.stack([-gradient, gradient], axis=1)
        standard = self._centred * self._inverse3
        slopes["last_shift"], slopes["last_gain"] = found.sum(axis=0), (found * standard).sum(axis=0)
        back = found - slopes["last_shift"] / number - standard * (slopes["last_gain"] / number)
        outputs = (back * (self._inverse3 * w["last_gain"])).astype(np.float32)

        norm, flat = self._norm2, self._second.reshape(number, -1)
        against, total = _against_outputs(flat, outputs), outputs.sum(axis=0, dtype=np.float64)[:, None]
        slopes["last"] = norm.scale * against + norm.shift * total
        slopes["second_shift"] = (w["last"] * total).sum(axis=0)
        slopes["second_gain"] = norm.inverse * (w["last"] * (against - norm.mean * total)).sum(axis=0)
        direct, constant, linear = _through(norm, slopes["second_shift"], slopes["second_gain"], number)
        slopes["second_bias"] = _second_gradient(
            flat, outputs, (direct * w["last"]).astype(np.float32), constant, linear
        )
        winograd.backward(
            self._first, *self._norm1.single, self._products, self._second, self._to_products, self._to_first
        )
        slopes["second"] = winograd.kernel_gradient(self._to_products)

        norm, height, width = self._norm1, *self._first.shape[:2]
        received = self._to_first[1 : height + 1, 1 : width + 1]
        slopes["first_shift"], against_first = _against(received, self._first)
        slopes["first_gain"] = norm.inverse * (against_first - norm.mean * slopes["first_shift"])
        through = _through(norm, slopes["first_shift"], slopes["first_gain"], number)
        slopes["first"] = _first_gradient(received, self._first, self._patches, *through)
        return slopes


def _patches(image: torch.Tensor) -> np.ndarray:
    """The 3x3 surroundings of every pixel, and a 1 for the bias: ``(H W, 28)``, in the order of a kernel's weights."""
    surroundings = torch.nn.functional.unfold(image[None], 3, padding=1)[0]
    return torch.cat([surroundings, torch.ones_like(surroundings[:1])]).T.contiguous().numpy()


def _transposed(weights: Weights) -> dict[str, np.ndarray]:
    """Weights of one image in the layout of this module; the last row of `first` ``(28, C)`` is its bias."""
    own = {name: part[0].numpy().copy() for name, part in weights._asdict().items()}
    own["first"] = np.concatenate([own["first"].reshape(len(own["first"]), -1), own.pop("first_bias")[:, None]], 1).T
    own["second"] = own["second"].transpose(2, 3, 1, 0)
    own["last"] = own["last"][:, :, 0, 0]
    return {name: np.ascontiguousarray(value) for name, value in own.items()}


def _through(
    norm: _Normalised, to_shift: np.ndarray, to_gain: np.ndarray, number: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Backward through a normalisation: the factors of its output's gradient, of 1 and of its input, ``(C,)`` each."""
    linear = -norm.scale * norm.inverse * to_gain / number
    return (
        norm.scale.astype(np.float32),
        (-norm.scale * to_shift / number - linear * norm.mean).astype(np.float32),
        linear.astype(np.float32),
    )


@numba.njit(cache=True, nogil=True, fastmath=_ANY_ORDER)
def _first_layer(patches: np.ndarray, kernels: np.ndarray, out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``out = ReLU(patches @ kernels)``, and the sums over pixels of its values and of their squares."""
    sums, squares = np.zeros(out.shape[1]), np.zeros(out.shape[1])
    for start in range(0, len(out), _BLOCK):
        block = out[start : start + _BLOCK]
        np.dot(patches[start : start + _BLOCK], kernels, block)
        for p in range(len(block)):
            for c in range(block.shape[1]):
                block[p, c] = max(block[p, c], np.float32(0))
        _add_moments(block, sums, squares)
    return sums, squares


@numba.njit(cache=True, nogil=True)
def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums over pixels ``(N, C)`` of values and of their squares, ``(C,)`` float64."""
    sums, squares = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    for start in range(0, len(values), _BLOCK):
        _add_moments(values[start : start + _BLOCK], sums, squares)
    return sums, squares


@numba.njit(cache=True, nogil=True, fastmath=_ANY_ORDER)
def _add_moments(block: np.ndarray, sums: np.ndarray, squares: np.ndarray) -> None:
    own = np.zeros((2, block.shape[1]), np.float32)
    for p in range(len(block)):
        for c in range(block.shape[1]):
            own[0, c] += block[p, c]
            own[1, c] += block[p, c] * block[p, c]
    sums += own[0]
    squares += own[1]


@numba.njit(cache=True, nogil=True, fastmath=_ANY_ORDER)
def _two_outputs(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``values @ weights.T`` for two rows of weights: ``(N, 2)`` float64."""
    found = np.empty((len(values), 2))
    for p in range(len(values)):
        background, object_ = np.float32(0), np.float32(0)
        for c in range(values.shape[1]):
            background += weights[0, c] * values[p, c]
            object_ += weights[1, c] * values[p, c]
        found[p, 0], found[p, 1] = background, object_
    return found


@numba.njit(cache=True, nogil=True, fastmath=_ANY_ORDER)
def _against_outputs(values: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """``outputs.T @ values``: ``(2, C)`` float64, added up in blocks."""
    found = np.zeros((2, values.shape[1]))
    for start in range(0, len(values), _BLOCK):
        own = np.zeros((2, values.shape[1]), np.float32)
        for p in range(start, min(start + _BLOCK, len(values))):
            for c in range(values.shape[1]):
                own[0, c] += outputs[p, 0] * values[p, c]
                own[1, c] += outputs[p, 1] * values[p, c]
        found += own
    return found


@numba.njit(cache=True, nogil=True, fastmath=_ANY_ORDER)
def _second_gradient(
    values: np.ndarray, outputs: np.ndarray, direct: np.ndarray, constant: np.ndarray, linear: np.ndarray
) -> np.ndarray:
    """Overwrite the second ReLU's values ``(N, C)`` by the gradient before it; returns its sum over pixels."""
    sums = np.zeros(values.shape[1])
    for start in range(0, len(values), _BLOCK):
        own = np.zeros(values.shape[1], np.float32)
        for p in range(start, min(start + _BLOCK, len(values))):
            background, object_ = outputs[p, 0], outputs[p, 1]
            for c in range(values.shape[1]):
                value = values[p, c]
                slope = background * direct[0, c] + object_ * direct[1, c] + constant[c] + linear[c] * value
                slope = slope if value > 0 else np.float32(0)
                values[p, c] = slope
                own[c] += slope
        sums += own
    return sums


@numba.njit(cache=True, nogil=True, fastmath=_ANY_ORDER)
def _against(received: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums over pixels of ``received`` and of ``received * values``, both ``(H, W, C)``: ``(C,)`` float64."""
    sums, against = np.zeros(values.shape[2]), np.zeros(values.shape[2])
    for y in range(len(values)):
        own = np.zeros((2, values.shape[2]), np.float32)
        for x in range(values.shape[1]):
            for c in range(values.shape[2]):
                own[0, c] += received[y, x, c]
                own[1, c] += received[y, x, c] * values[y, x, c]
        sums += own[0]
        against += own[1]
    return sums, against


@numba.njit(cache=True, nogil=True, fastmath=_ANY_ORDER)
def _first_gradient(
    received: np.ndarray,
    values: np.ndarray,
    patches: np.ndarray,
    direct: np.ndarray,
    constant: np.ndarray,
    linear: np.ndarray,
) -> np.ndarray:
    """The gradient of the first kernels and bias, ``(28, C)``, given that of the first normalisation's output."""
    height, width, channels = values.shape
    total, part = np.zeros((patches.shape[1], channels)), np.empty((patches.shape[1], channels), np.float32)
    row = np.empty((width, channels), np.float32)
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                value = values[y, x, c]
                slope = direct[c] * received[y, x, c] + constant[c] + linear[c] * value
                row[x, c] = slope if value > 0 else np.float32(0)
        np.dot(patches[y * width : (y + 1) * width].T, row, part)
        total += part
    return total
