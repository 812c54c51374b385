"""TokenCut's cut of 28x28 tokens of 384 channels: `cut` against a loop of SciPy's generalised eigensolver.

The baseline is fixed: one image at a time, float32 cosines, the binary graph in float64, and
``scipy.linalg.eigh(D - A, D, subset_by_index=[1, 1])``, the straightforward call of the paper's equation. Both arms
start from features in memory, affinity included, use one thread, and must give the same partition and, to 1e-8 of its
largest value, the same eigenvector. Inputs without a best cut, or with a token joined to none, are not among them: the
baseline's answer to those is arbitrary, or not the cut that is wanted.
"""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import scipy.linalg
from threadpoolctl import threadpool_limits

from benchmarks.figures import Measured
from benchmarks.pairs import REPEATS, Pairs, interleaved
from stages.ncut.ncut import cut
from stages.ncut.parameters import CutParameters
from stages.ncut.partition import sides

IMAGES = 6
GRID = 28
CHANNELS = 384
EQUAL = 1e-8


class Inputs(NamedTuple):
    """Images of one kind: features ``(B, 384, 28, 28)`` float32, and tau."""

    features: np.ndarray
    tau: float


class Found(NamedTuple):
    """An image's eigenvector with its sign chosen, and its foreground, each ``(n,)``."""

    vector: np.ndarray
    foreground: np.ndarray


Arm = Callable[[np.ndarray, float], Found]

USUAL = {"parts": (0.2, 1.0, 0.0), "noisy parts": (0.2, 2.0, 0.0), "parts on a gradient": (0.2, 2.0, 1.5)}
HARD = {
    "nearly all joined": (0.05, 1.0, 0.0),
    "noise": (0.05, 3.0, 0.0),
    "parts held by epsilon": (0.55, 1.0, 0.0),
    "weak parts": (0.4, 2.0, 1.5),
    "a thin gradient": (0.7, 2.0, 3.0),
    "a thin gradient in noise": (0.55, 3.0, 3.0),
}
"""Kind -> tau, noise, and the strength of a direction that turns across the image: a graph without clear parts."""


def ncut_speed(repeats: int = REPEATS) -> Iterator[Measured]:
    """Images a second of `cut` against those of the baseline: at tau 0.2, and on the hardest kind."""
    with threadpool_limits(1):
        for figure, kinds in (("ncut_to_dense", USUAL), ("ncut_to_dense_hard", HARD)):
            measured = {kind: _measured(made_inputs(*of_kind), repeats) for kind, of_kind in kinds.items()}
            kind = min(measured, key=lambda name: measured[name].ratio)
            fast, slow = measured[kind].medians
            lowest = f"the lowest of {', '.join(f'{name} {pairs.ratio:.1f}' for name, pairs in measured.items())}"
            note = f"{kind}: {1000 / fast:.1f} ms an image, dense {1000 / slow:.1f}; {lowest}"
            yield Measured(figure, measured[kind].ratio, repeats, slow, note, "ratio")


def made_inputs(tau: float, noise: float, turn: float, seed: int = 0) -> Inputs:
    """Images of two objects on a ground with a direction in common, noise, and a direction that turns across."""
    made: list[np.ndarray] = []
    generator = np.random.default_rng(seed)
    while len(made) < IMAGES:
        features = _image(generator, noise, turn).astype(np.float32)
        found = cut(features, CutParameters(tau))
        unique = found.solved is not None and np.ptp(found.solved.eigenvalues) > 1e-6
        if found.flag is None and unique and not found.isolated.any():
            made.append(features)
    return Inputs(np.stack(made), tau)


def _image(generator: np.random.Generator, noise: float, turn: float) -> np.ndarray:
    labels = np.zeros((GRID, GRID), dtype=int)
    for part, most in ((1, 12), (2, 6)):
        top, left = generator.integers(1, GRID - most - 1, 2)
        height, width = generator.integers(most // 2, most, 2, endpoint=True)
        labels[top : top + height, left : left + width] = part
    means, common = generator.standard_normal((3, CHANNELS)), 0.6 * generator.standard_normal(CHANNELS)
    angles = np.linspace(0, np.pi, GRID)[:, None, None]
    first, second = turn * generator.standard_normal((2, CHANNELS))
    turned = np.cos(angles) * first + np.sin(angles) * second
    tokens = means[labels] + common + turned + noise * generator.standard_normal((GRID, GRID, CHANNELS))
    return tokens.transpose(2, 0, 1)


def _candidate(features: np.ndarray, tau: float) -> Found:
    found = cut(features, CutParameters(tau))
    return Found(found.eigenvector.ravel(), found.foreground.ravel())


def _baseline(features: np.ndarray, tau: float) -> Found:
    tokens = features.reshape(CHANNELS, -1)
    units = tokens / np.linalg.norm(tokens, axis=0)
    weights = np.where(units.T @ units > tau, 1.0, 1e-5)
    degrees = np.diag(weights.sum(axis=1))
    _, vectors = scipy.linalg.eigh(degrees - weights, degrees, subset_by_index=[1, 1])
    found = sides(vectors[:, 0])
    return Found(found.vector, found.foreground)


def _measured(inputs: Inputs, repeats: int) -> Pairs:
    for features in inputs.features:  # this also compiles the candidate and warms both up
        ours, theirs = _candidate(features, inputs.tau), _baseline(features, inputs.tau)
        np.testing.assert_allclose(ours.vector, theirs.vector, rtol=0, atol=EQUAL * np.abs(theirs.vector).max())
        np.testing.assert_array_equal(ours.foreground, theirs.foreground)
    return interleaved(
        lambda: _images_per_second(_candidate, inputs), lambda: _images_per_second(_baseline, inputs), repeats
    )


def _images_per_second(arm: Arm, inputs: Inputs) -> float:
    started = time.perf_counter()
    for features in inputs.features:
        arm(features, inputs.tau)
    return len(inputs.features) / (time.perf_counter() - started)
