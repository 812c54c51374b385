"""SCG, SGRM and NCut by the batch against one image at a time, both on the same GPU.

The one-image arms are the straightforward flows that `scg_speed`, `sgrm_speed` and `ncut_speed` have, as PyTorch on
the card; both arms start from features, maps and superpixels in memory and must agree.
"""

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from benchmarks import ncut_speed, scg_speed, sgrm_speed
from benchmarks.devices import mask_ious
from benchmarks.figures import Measured
from benchmarks.pairs import Pairs, interleaved
from benchmarks.rates import wait
from stages.ncut.ncut import cut
from stages.ncut.parameters import CutParameters
from stages.scg.scg import refine

REPEATS = 3
_SCG_BATCHES, _SGRM_IMAGES, _NCUT_KIND = 4, 24, "parts"


def on_card(device: str) -> Iterator[Measured]:
    """The ratios of images per second, and the mean IoU of SGRM's masks with the one-image flow's."""
    yield _scg(device)
    yield _ncut(device)
    yield from _sgrm(device)


def _scg(device: str) -> Measured:
    made = scg_speed.made_inputs()
    features = [torch.cat([stage] * _SCG_BATCHES).to(device) for stage in made.features]
    cams = torch.cat([made.cams] * _SCG_BATCHES).to(device)
    inputs = scg_speed.Inputs(features, cams)
    torch.testing.assert_close(_refined(inputs), _one_by_one(inputs), rtol=0, atol=scg_speed.EQUAL)
    pairs = _pairs(lambda: _refined(inputs), lambda: _one_by_one(inputs), len(cams), device)
    return Measured(f"{device}_scg_to_one_image_flow", pairs.ratio, REPEATS, pairs.medians[1], _said(pairs), "ratio")


def _refined(inputs: scg_speed.Inputs) -> torch.Tensor:
    return refine(inputs.features, inputs.cams, scg_speed.PARAMETERS)


def _one_by_one(inputs: scg_speed.Inputs) -> torch.Tensor:
    """The released flow: a correlation an image, and the aggregation again for each class and box threshold."""
    maps = []
    for cams, *stages in zip(inputs.cams, *inputs.features, strict=True):
        correlation = torch.stack([_correlation(stage.flatten(1)) for stage in stages]).sum(dim=0)
        for _ in scg_speed.BOX_THRESHOLDS:
            found = [_localization_map(correlation, cam.flatten()) for cam in cams]
        maps.append(torch.stack(found).view(cams.shape))
    return torch.stack(maps)


def _correlation(vectors: torch.Tensor) -> torch.Tensor:
    units = vectors / (vectors.norm(dim=0) + 1e-10)
    alike = units.T @ units
    alike[alike < scg_speed.PARAMETERS.theta1] = 0
    first = alike / (alike.sum(dim=0) + 1e-5)
    alike.fill_diagonal_(0)
    steps = alike / (alike.sum(dim=0) + 1e-5)
    second = steps @ steps
    second = second / (second.sum(dim=0) + 1e-10)
    second[second < scg_speed.PARAMETERS.theta2 / len(second)] = 0
    largest = torch.maximum(first, scg_speed.PARAMETERS.omega * second)
    return largest / (largest.sum(dim=0) + 1e-10)


def _localization_map(correlation: torch.Tensor, cam: torch.Tensor) -> torch.Tensor:
    chosen = (cam >= scg_speed.PARAMETERS.delta_h, cam <= scg_speed.PARAMETERS.delta_l)
    high, low = (_min_max(_min_max(correlation[:, of_kind]).sum(dim=1)) for of_kind in chosen)
    return _min_max((high - low).clamp(min=0))


def _min_max(values: torch.Tensor) -> torch.Tensor:
    low = values.amin(dim=0)
    return (values - low) / (values.amax(dim=0) - low)


def _sgrm(device: str) -> Iterator[Measured]:
    inputs, _ = sgrm_speed.made_inputs(_SGRM_IMAGES)
    pairs, batch, single = sgrm_speed.measured(inputs.on(device), 1)
    longest = f"{_said(pairs)}; at most {max(batch.iterations)} iterations"
    yield Measured(f"{device}_sgrm_to_one_image_flow", pairs.ratio, 1, pairs.medians[1], longest, "ratio")
    ious = mask_ious(batch.masks, single.masks)
    least = f"mean; the least {ious.min():.3f}"
    yield Measured(f"{device}_sgrm_mask_iou", float(ious.mean()), 1, None, least, "IoU")


def _ncut(device: str) -> Measured:
    inputs = ncut_speed.made_inputs(*ncut_speed.USUAL[_NCUT_KIND])

    def ours() -> list[np.ndarray]:
        return [cut(features, CutParameters(inputs.tau)).foreground.ravel() for features in inputs.features]

    def single() -> list[np.ndarray]:
        return [_dense(torch.from_numpy(features).to(device), inputs.tau) for features in inputs.features]

    for own, other in zip(ours(), single(), strict=True):
        np.testing.assert_array_equal(own, other)
    pairs = _pairs(ours, single, len(inputs.features), device)
    said = f"{_said(pairs)}; the batch on one core, the flow on the card"
    return Measured(f"{device}_ncut_to_one_image_flow", pairs.ratio, REPEATS, pairs.medians[1], said, "ratio")


def _dense(features: torch.Tensor, tau: float) -> np.ndarray:
    """The foreground by the second of all eigenvectors of the equivalent symmetric problem, ``(n,)`` bool."""
    units = torch.nn.functional.normalize(features.flatten(1), dim=0)
    weights = torch.where(units.T @ units > tau, 1.0, 1e-5).double()
    degrees = weights.sum(dim=1)
    roots = degrees.rsqrt()
    _, vectors = torch.linalg.eigh(torch.eye(len(weights), device=roots.device) - roots[:, None] * weights * roots)
    foreground: np.ndarray = ncut_speed.sides((roots * vectors[:, 1]).cpu().numpy()).foreground
    return foreground


def _pairs(fast: Callable[[], object], slow: Callable[[], object], images: int, device: str) -> Pairs:
    """Images a second of both, in turns."""

    def rate(arm: Callable[[], object]) -> float:
        wait(device)
        started = time.perf_counter()
        arm()
        wait(device)
        return images / (time.perf_counter() - started)

    return interleaved(lambda: rate(fast), lambda: rate(slow), REPEATS)


def _said(pairs: Pairs) -> str:
    fast, slow = pairs.medians
    return f"{1000 / fast:.2f} ms an image, one at a time {1000 / slow:.2f} ms"
