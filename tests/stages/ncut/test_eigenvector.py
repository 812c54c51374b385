import numpy as np
import pytest
import scipy.linalg

from stages.ncut import eigenvector
from stages.ncut.affinity import cosines
from stages.ncut.eigenvector import dense_two_largest, second_eigenvector
from stages.ncut.graph import WeightedGraph, graph_of
from stages.ncut.lanczos import Leading, two_largest
from stages.ncut.parameters import CutParameters
from tests.stages.ncut.tokens import blocks, two_parts


def graph(tau=0.2, size=14, noise=0.6, kind="binary"):
    features, _ = two_parts(size, size, noise=noise)
    return graph_of(cosines(features.reshape(len(features), -1)), CutParameters(tau, graph=kind))


def weighted(weights):
    return WeightedGraph(weights, weights.sum(axis=1), (weights > 0.5).sum(axis=1) - 1)


def generalised(made):
    """Second and third smallest solutions of (D - A) y = lambda D y by SciPy's dense generalised solver."""
    degrees = np.diag(made.degrees)
    return scipy.linalg.eigh(degrees - made.dense(), degrees, subset_by_index=[1, 2])


CASES = [(0.05, 0.6, "binary"), (0.2, 0.6, "binary"), (0.2, 1.5, "binary"), (0.4, 1.0, "binary"), (0.2, 0.6, "soft")]


@pytest.mark.parametrize(("tau", "noise", "kind"), CASES)
@pytest.mark.parametrize("size", [6, 9, 14])
def test_the_generalised_solver_finds_the_same(tau, noise, kind, size):
    """Breaks when the symmetric form, the deflation, the way back by D^-1/2 or the stopping rule is wrong."""
    made = graph(tau, size, noise, kind)
    values, vectors = generalised(made)
    found = second_eigenvector(made)
    assert values[1] - values[0] > 1e-6
    np.testing.assert_allclose(found.eigenvalues, values, rtol=0, atol=0.1 * (values[1] - values[0]))
    assert found.eigenvalues[0] == pytest.approx(values[0], abs=1e-12)
    sign = np.sign(found.vector @ vectors[:, 0])
    np.testing.assert_allclose(sign * found.vector, vectors[:, 0], rtol=0, atol=1e-8 * np.abs(vectors[:, 0]).max())
    assert found.dense is (size == 6)
    assert not found.degenerate


@pytest.mark.parametrize("size", [6, 14])
def test_what_every_solution_obeys(size):
    """Breaks when the vector is not D-normalised, not D-orthogonal to the constant one, or its lambda leaves [0, 2]."""
    made = graph(size=size)
    found = second_eigenvector(made)
    vector, degrees = found.vector, made.degrees
    assert vector @ (degrees * vector) == pytest.approx(1, abs=1e-12)
    assert abs(degrees @ vector) < 1e-9
    assert 0 <= found.eigenvalues[0] <= found.eigenvalues[1] <= 2
    assert vector @ (degrees * vector - made.product(vector)) == pytest.approx(found.eigenvalues[0], abs=1e-12)
    constant = np.full(size**2, 1 / np.sqrt(degrees.sum()))
    np.testing.assert_allclose(made.product(constant), degrees * constant, rtol=1e-12)


@pytest.mark.parametrize(("first", "second"), [(5, 11), (40, 100), (70, 71)])
def test_two_blocks(first, second):
    """Breaks when eigenvalue or vector of a graph that epsilon alone holds together loses digits: closed form."""
    epsilon = 1e-5
    found = second_eigenvector(graph_of(cosines(blocks(first, second)[:, 0]), CutParameters(epsilon=epsilon)))
    d1, d2 = first + epsilon * second, second + epsilon * first
    assert found.eigenvalues[0] == pytest.approx(epsilon * second / d1 + epsilon * first / d2, rel=1e-9)
    ratio = found.vector[:first].mean() / found.vector[first:].mean()
    assert ratio == pytest.approx(-(d2 * second) / (d1 * first), rel=1e-9)
    assert np.ptp(found.vector[:first]) < 1e-9 * np.abs(found.vector).max()


@pytest.mark.parametrize("sizes", [(30, 30, 30), (5, 5, 5), (80,), (9,)])
def test_an_eigenvalue_that_is_there_twice_is_seen(sizes):
    """Breaks when one of many equally good cuts, chosen by rounding, passes for the cut of the image.

    Three equal blocks; graphs in which all tokens are joined.
    """
    assert second_eigenvector(graph_of(cosines(blocks(*sizes)[:, 0]), CutParameters())).degenerate


@pytest.mark.parametrize("sizes", [(2, 3, 100), (10, 12, 30)])
def test_small_eigenvalues_are_told_apart(sizes):
    """Breaks when different eigenvalues of the order of epsilon are taken for equal ones."""
    found = second_eigenvector(graph_of(cosines(blocks(*sizes)[:, 0]), CutParameters()))
    assert not found.degenerate
    assert found.eigenvalues[1] < 1e-3


@pytest.mark.parametrize("wrong", [None, "other", "short"])
def test_the_dense_solver_decides_where_lanczos_does_not(monkeypatch, wrong):
    """Breaks when a vector that solves nothing is handed on, because nobody looks at its residual."""
    made = graph()
    expected = second_eigenvector(made)
    assert not expected.dense

    def failing(product, known):
        found = two_largest(product, known)
        assert found is not None
        shifted = np.roll(found.vector, 1) if wrong == "other" else found.vector + 1e-6 * known
        return None if wrong is None else Leading(found.eigenvalues, shifted)

    monkeypatch.setattr(eigenvector, "two_largest", failing)
    found = second_eigenvector(made)
    assert found.dense
    np.testing.assert_allclose(np.abs(found.vector), np.abs(expected.vector), atol=1e-10)


def test_lanczos_gives_up_in_words():
    """Breaks when a spectrum without a leading value ends in a wrong vector or an endless iteration."""
    values = np.concatenate([[1.0], 0.5 - 1e-12 * np.arange(399) ** 2])
    assert two_largest(lambda vector: values * vector, np.eye(400)[0]) is None
    path = np.eye(300) + np.eye(300, k=1) + np.eye(300, k=-1)
    found = second_eigenvector(weighted(path))
    expected, vectors = generalised(weighted(path))
    np.testing.assert_allclose(found.eigenvalues, expected, atol=1e-9)
    assert abs(found.vector @ (path.sum(axis=1) * vectors[:, 0])) == pytest.approx(1, abs=1e-9)


def test_negative_eigenvalues_do_not_hide_the_known_one():
    """Breaks when the deflated solution itself, moved to 0, is taken where all others are negative."""
    star = np.array([[0.01, 1.0, 1.0], [1.0, 0.01, 1.0], [1.0, 1.0, 0.01]])
    roots = np.sqrt(star.sum(axis=1))
    found = dense_two_largest(star / roots / roots[:, None], roots / np.linalg.norm(roots))
    np.testing.assert_allclose(found.eigenvalues, [-0.99 / 2.01] * 2, atol=1e-12)
    assert abs(found.vector @ roots) < 1e-12


def test_two_tokens_have_no_cut():
    """Breaks when a graph too small for a third eigenvalue is an index error."""
    with pytest.raises(ValueError, match="at least three tokens, got 2"):
        second_eigenvector(weighted(np.ones((2, 2))))
