import numpy as np
import pytest

from stages.ddt.leading import _lanczos, leading


def matrix(dimension, decay, seed=0):
    generator = np.random.default_rng(seed)
    vectors, _ = np.linalg.qr(generator.standard_normal((dimension, dimension)))
    values = decay ** np.arange(dimension)
    made = (vectors * values) @ vectors.T
    return (made + made.T) / 2, values, vectors


@pytest.mark.parametrize(("dimension", "decay"), [(3, 0.5), (200, 0.9), (300, 0.5), (512, 0.97)])
def test_the_leading_pair_is_that_of_the_whole_spectrum(dimension, decay):
    """Breaks when the iteration stops early, or converges to another pair."""
    made, values, vectors = matrix(dimension, decay)
    eigenvalues, component = leading(made)
    np.testing.assert_allclose(eigenvalues, values[:2], rtol=1e-10)
    assert abs(abs(component @ vectors[:, 0]) - 1) < 1e-12
    assert np.linalg.norm(made @ component - eigenvalues[0] * component) < 1e-10 * eigenvalues[0]


def test_the_iteration_is_what_large_matrices_take():
    """Breaks when every large covariance falls through to the dense solver, and a class costs a second more."""
    assert _lanczos(matrix(512, 0.97)[0]) is not None


@pytest.mark.parametrize("made", [np.eye(300), np.zeros((300, 300)), np.diag(1 - np.arange(700) ** 2 * 1e-9)])
def test_without_a_leading_value_the_dense_solver_decides(made):
    """Breaks when a multiple, zero or crowded spectrum gives a vector that solves nothing, or a division by zero."""
    assert _lanczos(made) is None
    eigenvalues, component = leading(made)
    assert np.linalg.norm(component) == pytest.approx(1)
    assert np.linalg.norm(made @ component - eigenvalues[0] * component) < 1e-9


def test_one_dimension_has_no_second_value():
    """Breaks when a single channel is an error."""
    eigenvalues, component = leading(np.array([[2.0]]))
    assert eigenvalues.tolist() == [2, 0]
    assert abs(component.item()) == 1
