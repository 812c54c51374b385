"""The learning rate of SD-CAM over a training."""

from itertools import pairwise

import pytest

from stages.sdcam.warm_up import warm_up_cosine


def test_it_rises_linearly_to_one_and_falls_to_zero():
    """Breaks when the peak is missed or passed, when the rate begins at zero, or does not end there."""
    factors = [warm_up_cosine(step, 100, 0.2) for step in range(101)]
    assert [after - before for before, after in pairwise(factors[:21])] == pytest.approx([1 / 21] * 20)
    assert factors[0] > 0
    assert max(factors) == factors[20] == 1
    assert all(after < before for before, after in pairwise(factors[20:]))
    assert factors[60] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_trainings_learn(steps):
    """Breaks when a training of few steps divides by zero or has no rate at all."""
    assert all(0 < warm_up_cosine(step, steps, 0.4) <= 1 for step in range(steps))
