"""Bootstrap intervals against their known limits."""

import numpy as np
import pytest

from stages.scoring.bootstrap import mean_interval, paired_difference


def test_interval_is_near_the_normal_one():
    """Breaks when the interval is of the wrong width or not in percent."""
    correct = np.arange(1000) < 400
    found = mean_interval(correct, seed=1, resamples=20_000)
    half = 196 * np.sqrt(0.4 * 0.6 / 1000)
    assert found.value == 40
    assert found.low == pytest.approx(40 - half, abs=0.25)
    assert found.high == pytest.approx(40 + half, abs=0.25)


def test_same_seed_same_interval():
    """Breaks when the draw depends on anything but the seed."""
    correct = np.arange(2000) % 3 == 0
    assert mean_interval(correct, seed=4) == mean_interval(correct, seed=4)
    assert mean_interval(correct, seed=4) != mean_interval(correct, seed=5)


def test_all_or_nothing_has_no_width():
    """Breaks when resampling draws images that are not there."""
    assert mean_interval(np.ones(9), seed=0)[:3] == (100, 100, 100)


def test_identical_methods_do_not_differ():
    """Breaks when the pairing is lost: independent resampling would give a wide interval."""
    correct = np.arange(200) % 2 == 0
    assert paired_difference(correct, correct, seed=0) == (0, 0, 0, 1)


def test_pairing_narrows_the_interval():
    """Breaks when the two methods are resampled apart."""
    first = np.arange(1000) < 500
    second = np.arange(1000) < 480
    found = paired_difference(first, second, seed=2)
    assert found.value == pytest.approx(2)
    assert found.low > 1
    assert found.high < 3
    assert found.p_value == pytest.approx(1 / 2000)


def test_swapping_the_methods_changes_the_sign():
    """Breaks when gains and losses are not treated alike."""
    random = np.random.default_rng(0)
    first, second = random.random(300) < 0.6, random.random(300) < 0.5
    assert paired_difference(first, second, 3).value == -paired_difference(second, first, 3).value


@pytest.mark.parametrize("bad", [[], [0.5], [[0, 1]]])
def test_other_values_are_refused(bad):
    """Breaks when IoUs are passed for correctness."""
    with pytest.raises(ValueError, match="zeros and ones"):
        mean_interval(bad, seed=0)
