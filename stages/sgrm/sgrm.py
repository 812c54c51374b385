"""Self-guided re-prediction (SGRM): a mask from a map, by a network trained on that one image.

Pan et al., "Coarse2Fine: Local Consistency Aware Re-prediction for Weakly Supervised Object Localization", AAAI 2023.
The network learns the map's reliable pixels, and that a superpixel has one label; its prediction is the mask.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np
import torch

from stages.sgrm.aggregation_net import AggregationNets, Weights, initial_weights
from stages.sgrm.parameters import SgrmParameters
from stages.sgrm.reliable import Reliable, loss_gradient, reliable, wrong_share
from stages.vision.tensor_normalisation import min_max

__all__ = ["Predicted", "predict", "predict_by_definition"]


class Predicted(NamedTuple):
    """The results of SGRM for B images, on the device that computed them.

    masks: ``(B, H, W)`` bool. probabilities: ``(B, H, W)`` float32, of object. iterations: ``(B,)`` int64, forward
    passes; 0 for a map without contrast. fallback: ``(B,)`` bool, whether the prediction was empty; then the mask is
    where the map is above its mean, and the probability there is 1.
    """

    masks: torch.Tensor
    probabilities: torch.Tensor
    iterations: torch.Tensor
    fallback: torch.Tensor


class _Nets(Protocol):
    """The networks of some images in training; see `AggregationNets`."""

    def margins(self) -> torch.Tensor: ...

    def step(self, gradient: torch.Tensor) -> None: ...

    def keep(self, images: torch.Tensor) -> None: ...


_MakeNets = Callable[[torch.Tensor, Weights, SgrmParameters], _Nets]


def predict(
    images: np.ndarray,
    maps: torch.Tensor,
    superpixels: np.ndarray,
    seeds: Sequence[int],
    parameters: SgrmParameters,
    *,
    workers: int = 1,
) -> Predicted:
    """Masks of B images from their maps.

    On a GPU all images run at once; on a CPU one image a thread, by the network of `by_hand`. An image's result
    does not depend on which others are beside it, but for rounding on a GPU.

    images: ``(B, H, W, 3)`` uint8. maps: ``(B, H, W)`` of any float type, high on the object; min-maxed here; their
    device is used. superpixels: ``(B, H, W)`` int64, from 0 in each image. seeds: of the B networks' first weights.
    workers: threads on a CPU, which then belong to this call (torch and BLAS get one each).
    Raises: ValueError when shapes do not fit.
    """
    if not maps.is_cpu or not len(maps):
        return predict_by_definition(images, maps, superpixels, seeds, parameters)
    # Both are absent from bare GPU machines.
    from threadpoolctl import threadpool_limits

    from stages.sgrm.by_hand.aggregation_net import AggregationNet

    _check_shapes(images, maps, superpixels, seeds)

    def single(number: int) -> Predicted:
        one = slice(number, number + 1)
        return _predict(images[one], maps[one], superpixels[one], seeds[one], parameters, AggregationNet)

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(workers) as pool:
            found = list(pool.map(single, range(len(images))))
    finally:
        torch.set_num_threads(before)
    return Predicted(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def predict_by_definition(
    images: np.ndarray, maps: torch.Tensor, superpixels: np.ndarray, seeds: Sequence[int], parameters: SgrmParameters
) -> Predicted:
    """What `predict` returns, of the same shapes, by plain tensor operations on any device, all images at once."""
    _check_shapes(images, maps, superpixels, seeds)
    return _predict(images, maps, superpixels, seeds, parameters, AggregationNets)


def _predict(
    images: np.ndarray,
    maps: torch.Tensor,
    superpixels: np.ndarray,
    seeds: Sequence[int],
    parameters: SgrmParameters,
    nets: _MakeNets,
) -> Predicted:
    device, shape = maps.device, maps.shape
    flat = min_max(maps.detach()).flatten(1)
    found = Predicted(
        torch.zeros_like(flat, dtype=torch.bool),
        torch.zeros_like(flat, dtype=torch.float32),
        torch.zeros(len(flat), dtype=torch.int64, device=device),
        flat.new_zeros(len(flat), dtype=torch.bool),
    )
    usable = flat.amax(dim=1) > 0
    chosen = [number for number, own in enumerate(usable.tolist()) if own]
    if len(chosen):
        labels = reliable(flat[usable], torch.from_numpy(superpixels[chosen]).to(device).flatten(1), parameters)
        pixels = torch.from_numpy(images[chosen]).to(device).permute(0, 3, 1, 2).float().div_(255)
        weights = initial_weights([seeds[number] for number in chosen], parameters.channels)
        margins, found.iterations[usable] = _trained(nets(pixels, weights, parameters), labels, parameters)
        found.masks[usable], found.probabilities[usable] = margins > 0, margins.sigmoid()
    found.fallback.copy_(~found.masks.any(dim=1))
    found.masks[found.fallback] = (flat > flat.mean(dim=1, keepdim=True))[found.fallback]
    found.probabilities[found.fallback] = found.masks[found.fallback].float()
    return found._replace(masks=found.masks.view(shape), probabilities=found.probabilities.view(shape))


def _trained(net: _Nets, labels: Reliable, parameters: SgrmParameters) -> tuple[torch.Tensor, torch.Tensor]:
    """Train each network until it agrees with its reliable pixels; margins ``(B, N)``, iterations ``(B,)`` then.

    Networks that have stopped are dropped as soon as they are half of those that are computed.
    """
    number = len(labels.ids)
    margins = torch.zeros(labels.ids.shape, device=labels.ids.device)
    iterations = torch.zeros(number, dtype=torch.int64, device=margins.device)
    places = torch.arange(number, device=margins.device)
    running = torch.ones_like(places, dtype=torch.bool)
    for iteration in range(1, parameters.iterations + 1):
        now = net.margins()
        stops = running & (iteration >= parameters.min_iterations)
        if iteration < parameters.iterations:
            stops &= wrong_share(now > 0, labels, parameters.balanced) < parameters.error
        margins[places[stops]], iterations[places[stops]] = now[stops], iteration
        running &= ~stops
        left = int(running.sum())
        if not left:
            break
        net.step(loss_gradient(now, labels, parameters))
        if 2 * left <= len(running):
            net.keep(running)
            labels, places, running = labels.of(running), places[running], running[running]
    return margins, iterations


def _check_shapes(images: np.ndarray, maps: torch.Tensor, superpixels: np.ndarray, seeds: Sequence[int]) -> None:
    if maps.ndim != 3:
        raise ValueError(f"maps must be (B, H, W), got {tuple(maps.shape)}")
    if images.shape != (*maps.shape, 3) or superpixels.shape != tuple(maps.shape) or len(seeds) != len(maps):
        raise ValueError(
            f"for maps {tuple(maps.shape)} images, superpixels and seeds must be of the same images and size, got "
            f"{images.shape}, {superpixels.shape} and {len(seeds)} seeds"
        )
