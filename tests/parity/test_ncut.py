"""The normalized cut against the numbers of TokenCut's released code."""

import numpy as np
import pytest

from stages.ncut.affinity import affinity, cosines
from stages.ncut.ncut import cuts, score_map
from stages.ncut.parameters import CutParameters
from stages.ncut.partition import seed_component
from stages.vision.boxes import clip
from stages.vision.components import mask_extent

PER_ENTRY_NEAR_TAU = 2
"""Degrees that a single cosine within rounding of tau may change."""


def features(golden):
    """Features (n, C, h, w) float32 of the fixture's patch tokens."""
    tokens = golden.arrays["tokens_q"][:, 1:].astype(np.float32) / 24
    return tokens.transpose(0, 2, 1).reshape(len(tokens), -1, *golden.parameters["grid_hw"])


def parameters(golden):
    found = golden.parameters
    return CutParameters(found["tau"], found["eps"], "binary" if found["binary_graph"] else "soft")


@pytest.mark.golden("ncut_")
def test_degrees(golden):
    """Breaks when another threshold, comparison, weight of absent edges or diagonal makes another graph."""
    arrays = golden.arrays
    for found, degrees, near in zip(features(golden), arrays["degree"], arrays["n_near_tau"], strict=True):
        ours = affinity(cosines(found.reshape(len(found), -1)), parameters(golden)).sum(axis=1)
        changed = np.abs(ours - degrees) > 1e-5 * degrees.max()
        assert changed.sum() <= PER_ENTRY_NEAR_TAU * near


@pytest.mark.golden("ncut_")
def test_eigenvectors_sides_and_boxes(golden):
    """Breaks when the eigenproblem, the partition, the seed, the sign, the component or the box is another one."""
    arrays, found = golden.arrays, golden.parameters
    height, width = found["image_hw"]
    tolerance = golden.tolerance("eigenvector")
    for number, of_image in enumerate(cuts(features(golden), parameters(golden))):
        expected = arrays["eigenvector"][number]
        largest = np.abs(expected).max()
        np.testing.assert_allclose(of_image.eigenvector, expected, rtol=0, atol=tolerance * largest)
        np.testing.assert_array_equal(of_image.foreground, arrays["bipartition"][number])
        assert (of_image.flag, of_image.seed) == (None, arrays["seed"][number])
        assert of_image.solved is not None
        assert of_image.seed is not None
        values = arrays["eigenvalues"][number, 1:3].astype(float)
        known = max(1e-10, tolerance)
        assert of_image.solved.eigenvalues[0] == pytest.approx(values[0], abs=known)
        assert of_image.solved.eigenvalues[1] == pytest.approx(values[1], abs=0.1 * np.ptp(values))
        component = seed_component(of_image.foreground, of_image.seed)
        np.testing.assert_array_equal(component, arrays["mask"][number])
        np.testing.assert_array_equal(score_map(of_image, "seed") > 0, component)
        box = clip(mask_extent(component) * found["patch"], width, height)
        np.testing.assert_array_equal(box, arrays["box"][number])
