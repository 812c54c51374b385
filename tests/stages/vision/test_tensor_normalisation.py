import numpy as np
import pytest
import torch

from stages.vision import score_maps
from stages.vision.tensor_normalisation import at_least_float32, min_max


def maps(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_equals_the_normalisation_of_finished_maps():
    """Breaks when training and inference normalise differently: seeds and masks would lie elsewhere than boxes."""
    values = maps(5, 6, 7)
    values[1], values[2, 0, 0], values[3, 1, 1] = 3.0, torch.nan, torch.inf
    np.testing.assert_array_equal(min_max(values).numpy(), score_maps.min_max(values.numpy()))


def test_gradient_through_minimum_and_maximum():
    """Breaks when the minimum or the maximum is taken as a constant."""
    assert torch.autograd.gradcheck(min_max, maps(2, 3, 4, dtype=torch.float64).requires_grad_())


@pytest.mark.parametrize("value", [0.0, 2.5, torch.inf, torch.nan])
def test_maps_without_extent_pass_no_gradient(value):
    """Breaks when a constant map divides by zero: a NaN in one image's gradient spreads to every weight."""
    values = torch.stack([torch.full((3, 3), value), maps(3, 3)]).requires_grad_()
    (gradient,) = torch.autograd.grad((min_max(values) * maps(2, 3, 3, seed=1)).sum(), values)
    assert (gradient[0] == 0).all()
    assert torch.isfinite(gradient).all()
    assert gradient[1].any()


def test_types():
    """Breaks when half precision stays half, or double precision is cut."""
    widened = {
        torch.bfloat16: torch.float32,
        torch.float16: torch.float32,
        torch.float32: torch.float32,
        torch.float64: torch.float64,
    }
    for given, expected in widened.items():
        assert at_least_float32(maps(2, 2).to(given)).dtype == expected
        assert min_max(maps(2, 2).to(given)).dtype == expected
