import numpy as np
import pytest
import torch

from stages.vision.score_maps import enlarge, min_max, to_half


def maps(shape=(3, 7, 9), seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_min_max_attains_both_ends():
    """Normalising over the batch instead of each map leaves maps that never reach 1."""
    result = min_max(maps() * np.array([1, 10, 100], np.float32)[:, None, None])
    np.testing.assert_array_equal(result.min(axis=(1, 2)), 0)
    np.testing.assert_array_equal(result.max(axis=(1, 2)), 1)
    assert result.dtype == np.float32


def test_min_max_is_blind_to_scale_and_bias():
    """CAM's classifier bias and pooling by sum or mean must not matter."""
    original = maps()
    np.testing.assert_allclose(min_max(3 * original + 5), min_max(original), atol=1e-5)
    np.testing.assert_allclose(min_max(-original), 1 - min_max(original), atol=1e-6)


def test_min_max_of_unusable_maps():
    """A constant map must not divide by zero, and one NaN must not spread to the other maps of the batch."""
    batch = np.stack([maps()[0]] * 5)
    batch[1] = 4.0
    batch[2, 3, 3] = np.nan
    batch[3, 0, 0] = np.inf
    with np.errstate(all="raise"):
        result = min_max(batch)
    assert not result[1:4].any()
    np.testing.assert_array_equal(result[4], min_max(batch[0]))
    assert min_max(batch.astype(np.float16)).dtype == np.float32


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_enlarge_equals_torch(mode):
    """Aligned corners, or a shift by half a pixel, would move every box; torch is an independent yardstick."""
    small = maps()
    expected = torch.nn.functional.interpolate(torch.from_numpy(small)[:, None], (45, 70), mode=mode)[:, 0]
    np.testing.assert_allclose(enlarge(small, 45, 70, mode), expected.numpy(), atol=1e-4)


def test_enlarge_shapes():
    """Height and width swapped is harmless only for square images."""
    assert enlarge(maps(), 20, 30).shape == (3, 20, 30)
    assert enlarge(maps((7, 9)).astype(np.float16), 20, 30).shape == (20, 30)
    with pytest.raises(ValueError, match="bilinear"):
        enlarge(maps(), 20, 30, "nearest")  # type: ignore[arg-type]


def test_half_precision_has_no_infinity():
    """Breaks when one large value becomes an infinity, which min-max turns into a map of zeros."""
    assert to_half(np.array([1e6, 0.5, -1e6], np.float32)).tolist() == [65504, 0.5, -65504]
