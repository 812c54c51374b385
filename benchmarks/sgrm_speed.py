"""SGRM at 224x224 on 16 images: `predict` against the straightforward flow, the same cores free to both.

The baseline is fixed: one image at a time, the network as layers of torch with its optimizer and automatic gradients,
all cores inside each layer, and the vote as a Python loop over superpixels. Both arms have the same images, maps,
superpixels, first weights and stop rule. Rounding differs, and a training magnifies it, so masks are compared by IoU:
with each other, and with the object.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_sample_images
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.devices import mask_ious
from benchmarks.figures import Measured
from benchmarks.pairs import Pairs, interleaved
from stages.arm import arm
from stages.sgrm.aggregation_net import initial_weights
from stages.sgrm.parameters import PRESETS, SuperpixelParameters
from stages.sgrm.sgrm import predict
from stages.sgrm.superpixels import superpixels
from stages.vision.images import resize

IMAGES, SIDE, GRID = 16, 224, 14
CORES = min(2, os.cpu_count() or 1)
REPEATS = 3
PARAMETERS = PRESETS["cub"]


class Inputs(NamedTuple):
    """Images ``(B, 224, 224, 3)`` uint8, maps ``(B, 224, 224)`` float32 in [0, 1], superpixels, seeds of networks."""

    images: np.ndarray
    maps: torch.Tensor
    superpixels: np.ndarray
    seeds: list[int]

    def on(self, device: str) -> "Inputs":
        """The same with the maps on a device, which is the one that computes."""
        return self._replace(maps=self.maps.to(device))

    def first(self) -> "Inputs":
        """One image."""
        return Inputs(self.images[:1], self.maps[:1], self.superpixels[:1], self.seeds[:1])


class Masks(NamedTuple):
    """Masks ``(B, 224, 224)`` bool and how many iterations each took."""

    masks: np.ndarray
    iterations: list[int]


@dataclass
class _Arm:
    """A way to compute masks, its last result, and its images a second."""

    masks_of: Callable[[Inputs], Masks]
    inputs: Inputs
    last: Masks | None = field(default=None)

    def __call__(self) -> float:
        started = time.perf_counter()
        self.last = self.masks_of(self.inputs)
        return len(self.inputs.images) / (time.perf_counter() - started)


def sgrm_speed(repeats: int = REPEATS, images: int = IMAGES) -> Iterator[Measured]:
    """Images a second of `predict` against those of the baseline, and the least IoU of their masks."""
    inputs, objects = made_inputs(images)
    pairs, fast, slow = measured(inputs, repeats)
    stopped = f"iterations {min(fast.iterations)} to {max(fast.iterations)}"
    note = f"{images} images, {CORES} cores, {stopped}: {_seconds(pairs)}"
    yield Measured("sgrm_to_straightforward", pairs.ratio, repeats, pairs.medians[1], note, "ratio")
    ious, own, theirs = (
        mask_ious(fast.masks, slow.masks),
        mask_ious(fast.masks, objects),
        mask_ious(slow.masks, objects),
    )
    same = sum(a == b for a, b in zip(fast.iterations, slow.iterations, strict=True))
    least = fast.iterations.count(PARAMETERS.min_iterations)
    note = (
        f"the least; mean {ious.mean():.4f}; iterations equal for {same} of {images}, {least} of the least number; "
        f"mean IoU with the object {own.mean():.4f}, straightforward {theirs.mean():.4f}. Images that train in at most "
        "40 iterations: of longer trainings rounding decides, in either arm"
    )
    yield Measured("sgrm_mask_iou", float(ious.min()), 1, None, note, "IoU")


def measured(inputs: Inputs, repeats: int) -> tuple[Pairs, Masks, Masks]:
    """Both arms in turns, and what each found last."""
    candidate, baseline = _Arm(_candidate, inputs), _Arm(_baseline, inputs)
    before = torch.get_num_threads()
    torch.set_num_threads(CORES)
    try:
        for masks_of in (_candidate, _baseline):  # warm-up: compilation and caches
            masks_of(inputs.first())
        pairs = interleaved(candidate, baseline, repeats)
    finally:
        torch.set_num_threads(before)
    assert candidate.last is not None
    assert baseline.last is not None
    return pairs, candidate.last, baseline.last


def _seconds(pairs: Pairs) -> str:
    fast, slow = pairs.medians
    return f"{1 / fast:.2f} s an image, straightforward {1 / slow:.2f} s"


def made_inputs(images: int) -> tuple[Inputs, np.ndarray]:
    """Ellipses of one photograph on windows of the other, maps that ARM made of 14x14 Gaussians, and the masks.

    The network learns such an object within some 20 to 40 iterations. With many more, rounding would be compared:
    on a harder image both arms and a float64 evaluation agree to 0.01 at iteration 19, and to no better than 0.5 at 34.
    Larger ellipses were measured first: one of eight then stopped at another iteration, with an IoU of 0.89.
    """
    generator = np.random.default_rng(0)
    ground, figure = (np.asarray(image) for image in load_sample_images().images)
    made = [_made(ground, figure, generator) for _ in range(images)]
    pixels, objects = np.stack([image for image, _, _ in made]), np.stack([inside for _, _, inside in made])
    hills = torch.from_numpy(np.stack([hill for _, hill, _ in made]))
    maps = arm.refine(torch.from_numpy(pixels).permute(0, 3, 1, 2).float(), hills, arm.ArmParameters())
    parts = np.stack([superpixels(image, SuperpixelParameters()) for image in pixels])
    return Inputs(pixels, maps, parts, list(range(images))), objects


def _made(
    ground: np.ndarray, figure: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An image ``(224, 224, 3)`` uint8, its hill ``(14, 14)`` float32 and its object ``(224, 224)`` bool."""
    (top, left), (height, width) = generator.uniform(0.35, 0.65, 2), generator.uniform(0.12, 0.22, 2)
    behind, before = (_window(image, generator) for image in (ground, figure))

    def distance(side: int) -> np.ndarray:
        y, x = (np.indices((side, side)) + 0.5) / side
        return ((y - top) / height) ** 2 + ((x - left) / width) ** 2

    inside = distance(SIDE) < 1
    return np.where(inside[..., None], before, behind), np.exp(-distance(GRID)).astype(np.float32), inside


def _window(photograph: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A random square of the middle of a photograph, half as high as it, at 224x224."""
    side = photograph.shape[0] // 2
    top, left = (int(generator.integers(length // 4, 3 * length // 4 - side + 1)) for length in photograph.shape[:2])
    return resize(photograph[top : top + side, left : left + side], SIDE)


def _candidate(inputs: Inputs) -> Masks:
    found = predict(*inputs, PARAMETERS, workers=CORES)
    return Masks(found.masks.cpu().numpy(), found.iterations.tolist())


def _baseline(inputs: Inputs) -> Masks:
    found = [_one_image(*own) for own in zip(*inputs, strict=True)]
    return Masks(np.stack([mask for mask, _ in found]), [iterations for _, iterations in found])


def _one_image(image: np.ndarray, score_map: torch.Tensor, parts: np.ndarray, seed: int) -> tuple[np.ndarray, int]:
    """The mask and the number of iterations."""
    device = score_map.device
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].to(device, torch.float32) / 255
    flat_map, flat_parts = score_map.cpu().numpy().ravel(), parts.ravel()
    own = [np.flatnonzero(flat_parts == number) for number in np.unique(flat_parts)]
    is_object, is_background = flat_map > PARAMETERS.high1, flat_map < PARAMETERS.low1
    smooth = np.empty_like(flat_map)
    for places in own:
        smooth[places] = flat_map[places].mean()
    network = _network(seed).to(device)
    optimizer = torch.optim.SGD(network.parameters(), PARAMETERS.learning_rate, PARAMETERS.momentum)
    for iteration in range(1, PARAMETERS.iterations + 1):
        outputs = network(pixels)[0].flatten(1).T
        chosen = outputs.argmax(dim=1).cpu().numpy()
        wrong = ((chosen[is_object] == 0).mean() + (chosen[is_background] == 1).mean()) / 2
        if iteration >= PARAMETERS.min_iterations and wrong < PARAMETERS.error:
            break
        labels = np.empty_like(chosen)
        for places in own:
            labels[places] = np.argmax(np.bincount(chosen[places], minlength=2))
        labels[smooth < PARAMETERS.low2] = 0
        labels[smooth > PARAMETERS.high2] = 1
        losses = cross_entropy(outputs, torch.from_numpy(labels).to(device)) * PARAMETERS.superpixel_weight
        for of_kind, target, weight in (
            (is_object, 1, PARAMETERS.positive_weight),
            (is_background, 0, PARAMETERS.negative_weight),
        ):
            if of_kind.any():
                one_kind = outputs[torch.from_numpy(of_kind).to(device)]
                targets = torch.full((len(one_kind),), target, device=device)
                losses = losses + weight * cross_entropy(one_kind, targets)
        if iteration < PARAMETERS.iterations:
            optimizer.zero_grad()
            losses.backward()
            optimizer.step()
    mask = np.asarray(chosen == 1 if chosen.any() else flat_map > flat_map.mean())
    return mask.reshape(image.shape[:2]), iteration


def _network(seed: int) -> nn.Sequential:
    """The network as layers, with the first weights that `predict` gives it."""
    given = initial_weights([seed], PARAMETERS.channels)
    hidden = PARAMETERS.channels
    network = nn.Sequential(
        nn.Conv2d(3, hidden, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(hidden),
        nn.Conv2d(hidden, hidden, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(hidden),
        nn.Conv2d(hidden, 2, 1, bias=False), nn.BatchNorm2d(2),
    )  # fmt: skip
    with torch.no_grad():
        for parameter, value in zip(network.parameters(), given, strict=True):
            parameter.copy_(value[0])
    return network
