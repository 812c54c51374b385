import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.ncut.affinity import affinity, cosines
from stages.ncut.graph import graph_of
from stages.ncut.parameters import CutParameters


@settings(max_examples=30, deadline=None)
@given(
    size=st.integers(1, 70),
    tau=st.sampled_from([-1.0, -0.1, 0.0, 0.2, 0.9]),
    epsilon=st.sampled_from([1e-5, 0.3]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_products_are_those_of_the_affinity(size, tau, epsilon, dtype):
    """Breaks when a bit is packed into another place, at any size beside a multiple of 8 or 16, or a sum misses it."""
    generator = np.random.default_rng(size)
    similarity = cosines(generator.standard_normal((3, size)).astype(dtype))
    vector = generator.standard_normal(size)
    for kind in ("binary", "soft"):
        parameters = CutParameters(max(tau, 0.0) if kind == "soft" else tau, epsilon, kind)
        weights, graph = affinity(similarity, parameters), graph_of(similarity, parameters)
        np.testing.assert_array_equal(graph.dense(), weights)
        np.testing.assert_allclose(graph.product(vector), weights @ vector, rtol=0, atol=1e-12)
        np.testing.assert_allclose(graph.degrees, weights.sum(axis=1), rtol=1e-14)
        np.testing.assert_array_equal(graph.neighbours, (weights != epsilon).sum(axis=1) - 1)


def test_the_affinity_of_three_tokens():
    """Breaks when a strict comparison, the weight of absent edges or the diagonal changes: worked out by hand."""
    tokens = np.array([[1.0, 0.0, 3.0], [0.0, 2.0, 4.0]])
    similarity = cosines(tokens)
    np.testing.assert_allclose(similarity, [[1, 0, 0.6], [0, 1, 0.8], [0.6, 0.8, 1]], atol=1e-15)
    hard = affinity(similarity, CutParameters(tau=float(similarity[2, 0]), epsilon=0.01))
    np.testing.assert_array_equal(hard, [[1, 0.01, 0.01], [0.01, 1, 1], [0.01, 1, 1]])
    soft = affinity(similarity, CutParameters(tau=float(similarity[2, 0]), epsilon=0.01, graph="soft"))
    np.testing.assert_allclose(soft, [[1, 0.01, 0.6], [0.01, 1, 0.8], [0.6, 0.8, 1]], atol=1e-15)


def test_a_zero_token_is_joined_to_none():
    """Breaks when a token without features divides by zero, or counts as like all others."""
    similarity = cosines(np.array([[0.0, 1.0, 1.0], [0.0, 0.0, 0.1]], dtype=np.float32))
    assert similarity.dtype == np.float32
    assert graph_of(similarity, CutParameters(0.2)).neighbours.tolist() == [0, 1, 1]
    for tau in (0.0, 0.2):
        assert graph_of(similarity, CutParameters(tau, graph="soft")).neighbours.tolist() == [0, 1, 1]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_no_numbers_are_refused(bad):
    """Breaks when a NaN becomes a token that is joined to none, and is left out without a word."""
    with pytest.raises(ValueError, match="NaN or an infinity"):
        cosines(np.array([[1.0, bad], [2.0, 3.0]], dtype=np.float32))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"tau": 1.0}, r"tau must be in \[-1, 1\) for a binary graph, got 1.0"),
        ({"tau": -0.1, "graph": "soft"}, r"tau must be in \[0, 1\) for a soft graph"),
        ({"tau": float("nan")}, "tau must be in"),
        ({"epsilon": 0.0}, "epsilon must be in .1e-7, 1., got 0.0"),
        ({"graph": "weighted"}, "graph must be one of binary, soft, got 'weighted'"),
    ],
)
def test_bad_parameters_are_refused(values, said):
    """Breaks when a graph without edges, with negative weights, or with components apart reaches the solver."""
    with pytest.raises(ValueError, match=said):
        CutParameters(**values)
