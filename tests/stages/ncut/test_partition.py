import numpy as np

from stages.ncut.partition import seed_component, sides


def test_the_seed_decides_which_side_is_the_object():
    """Breaks when the sign is left to the eigensolver, or the mean is not what divides."""
    vector = np.array([0.1, 0.2, -0.9, 0.1, -0.5])
    for sign in (1, -1):
        found = sides(sign * vector)
        np.testing.assert_array_equal(found.vector, -vector)
        assert found.foreground.tolist() == [False, False, True, False, True]
        assert found.seed == 2


def test_the_mean_divides_not_zero():
    """Breaks when values above 0 and below the mean become foreground."""
    assert sides(np.array([9.0, 1.0, 1.0, 1.0])).foreground.tolist() == [True, False, False, False]


def test_what_equals_the_mean_but_for_rounding_is_background():
    """Breaks when in a graph that is complete but for one pair half of the other tokens become foreground by chance."""
    vector = np.r_[1.0, -1.0, np.random.default_rng(0).normal(0, 1e-16, 50)]
    for sign in (1, -1):
        assert sides(sign * vector).foreground.tolist() == [True, *[False] * 51]


def test_the_first_of_equal_values_is_the_seed():
    """Breaks when rounding of the solver chooses among equal values, and with them the object."""
    vector = np.array([0.0, -1.0, 1.0 + 1e-12, 0.5])
    assert sides(vector).seed == 1
    assert sides(vector).vector[1] > 0


def test_the_component_of_the_seed_is_4_connected():
    """Breaks when diagonal neighbours join the object, as they do in our boxes, or another component is taken."""
    foreground = np.array([[1, 1, 0, 0], [0, 0, 1, 0], [1, 0, 1, 1]], dtype=bool)
    assert np.flatnonzero(seed_component(foreground, 6)).tolist() == [6, 10, 11]
    assert np.flatnonzero(seed_component(foreground, 0)).tolist() == [0, 1]
