import numpy as np
import pytest

from stages.ncut.ncut import DEGENERATE, cut, cuts, score_map
from stages.ncut.parameters import CutParameters
from tests.stages.ncut.tokens import blocks, two_parts

TAU = CutParameters(tau=0.2)


@pytest.mark.parametrize("graph", ["binary", "soft"])
@pytest.mark.parametrize("grid", [(14, 14), (9, 13), (6, 8)])
def test_a_planted_object_is_found(graph, grid):
    """Breaks when the foreground is the ground, or rows and columns are exchanged."""
    features, mask = two_parts(*grid, noise=0.4)
    found = cut(features, CutParameters(0.2, graph=graph))
    np.testing.assert_array_equal(found.foreground, mask)
    assert mask.ravel()[found.seed]
    assert found.flag is None


@pytest.mark.parametrize(("first", "second"), [(10, 30), (30, 10)])
def test_the_smaller_of_two_blocks_is_the_object(first, second):
    """Breaks when the seed's rule is turned round: the smaller block has the larger values."""
    found = cut(blocks(first, second), TAU)
    expected = np.arange(first + second) < first if first < second else np.arange(first + second) >= first
    np.testing.assert_array_equal(found.foreground[0], expected)


def test_cuts_follow_a_permutation_of_tokens():
    """Breaks when a token's place in the grid has a part in the cut."""
    features, _ = two_parts(noise=1.0)
    order = np.random.default_rng(1).permutation(196)
    permuted = features.reshape(len(features), -1)[:, order].reshape(features.shape)
    one, other = cut(features, TAU), cut(permuted, TAU)
    np.testing.assert_allclose(other.eigenvector.ravel(), one.eigenvector.ravel()[order], atol=1e-10)
    np.testing.assert_array_equal(other.foreground.ravel(), one.foreground.ravel()[order])
    assert order[other.seed] == one.seed


def test_rotations_and_positive_scales_of_features_change_nothing():
    """Breaks when lengths of tokens, or single channels, have a part in the cut."""
    features, _ = two_parts(noise=1.0)
    generator = np.random.default_rng(2)
    rotation, _ = np.linalg.qr(generator.standard_normal((len(features),) * 2))
    scales = generator.uniform(0.1, 10, features.shape[1:])
    one, other = cut(features, TAU), cut(np.einsum("ij,jhw->ihw", rotation, features) * scales, TAU)
    np.testing.assert_allclose(other.eigenvector, one.eigenvector, atol=1e-10)
    np.testing.assert_array_equal(other.foreground, one.foreground)


@pytest.mark.parametrize("graph", ["binary", "soft"])
def test_a_batch_is_its_images_to_the_bit(graph):
    """Breaks when an image's map depends on its neighbours in the batch, or on where it lies in memory."""
    batch = np.stack([two_parts(noise=noise, seed=seed)[0] for seed, noise in enumerate((0.3, 0.8, 1.2, 1.6))])
    parameters = CutParameters(0.2, graph=graph)
    for dtype in (np.float32, np.float64):
        typed = batch.astype(dtype)
        for features, found in zip(typed, cuts(typed, parameters), strict=True):
            alone = cut(features.copy(), parameters)
            assert alone.eigenvector.tobytes() == found.eigenvector.tobytes()
            assert (alone.foreground == found.foreground).all()
            assert alone.seed == found.seed


@pytest.mark.parametrize("graph", ["binary", "soft"])
def test_an_isolated_token_is_left_out(graph):
    """Breaks when one token that is like no other becomes the object, and puts all others at one end of the map."""
    features, mask = two_parts(noise=0.3)
    alone = np.zeros(mask.shape, dtype=bool)
    alone[[0, 5], [12, 0]] = True
    features = np.concatenate([np.where(alone, 0, features), np.eye(2)[:, np.cumsum(alone).reshape(alone.shape) % 2]])
    features[-2:, ~alone] = 0
    parameters = CutParameters(0.2, graph=graph)
    found = cut(features, parameters)
    np.testing.assert_array_equal(found.isolated, alone)
    np.testing.assert_array_equal(found.foreground, mask)
    assert found.flag is None
    assert (score_map(found)[alone] == 0).all()
    assert np.abs(score_map(found)[~alone]).min() > 0.05


def test_the_others_are_cut_as_if_the_isolated_token_were_not_there():
    """Breaks when the weight epsilon of its absent edges still turns the vector."""
    features, _ = two_parts(1, 80, noise=1.0)
    lone = np.concatenate([np.pad(features, ((0, 0), (0, 0), (0, 1))), np.zeros((1, 1, 81))])
    lone[-1, 0, -1] = 1
    one, other = cut(features, TAU), cut(lone, TAU)
    np.testing.assert_allclose(other.eigenvector[:, :-1], one.eigenvector, atol=1e-12)
    assert other.eigenvector[0, -1] == pytest.approx(one.eigenvector.mean())


@pytest.mark.parametrize(
    "features",
    [
        np.ones((3, 9, 9)),
        np.ones((3, 2, 2)),
        blocks(30, 30, 30),
        np.eye(9)[:, None],
        np.ones((4, 1, 2)),
        np.zeros((2, 4, 4)),
    ],
    ids=["all joined", "four joined", "three equal blocks", "all isolated", "two tokens", "no features"],
)
def test_a_graph_without_a_best_cut_gives_a_flat_flagged_map(features):
    """Breaks when rounding draws the object, or an image that cannot be cut stops the shard."""
    found = cut(features, TAU)
    assert found.flag == DEGENERATE
    assert not found.foreground.any()
    assert not score_map(found).any()


def test_in_a_graph_that_lacks_one_pair_the_foreground_is_one_of_it():
    """Breaks when rounding, and with it the order of tokens, draws an object among tokens that all equal the mean."""
    features = np.column_stack([(1, 0), (0, 1), *[(1, 1)] * 98])[:, np.random.default_rng(0).permutation(100)]
    found = cut(features.reshape(2, 10, 10).astype(np.float64), TAU)
    assert found.foreground.sum() == 1
    np.testing.assert_array_equal(score_map(found) > 0, found.foreground)


def test_the_map_is_positive_on_the_foreground_and_1_at_most():
    """Breaks when threshold 0 is no longer TokenCut's, or the scale depends on the number of tokens."""
    found = cut(two_parts(noise=1.2)[0], TAU)
    values = score_map(found)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values > 0, found.foreground)
    assert np.abs(values).max() == 1
    slope, offset = np.polyfit(found.eigenvector.ravel(), values.ravel(), 1)
    assert slope > 0
    np.testing.assert_allclose(values, slope * found.eigenvector + offset, atol=1e-6)


def test_the_map_of_the_seeds_component():
    """Breaks when a second object stays positive, or the ground loses its values."""
    labels = np.zeros((8, 8), dtype=int)
    labels[1:3, 1:3] = labels[5:7, 4:7] = 1
    found = cut(np.eye(2)[:, labels], TAU)
    everything, seed = score_map(found), score_map(found, "seed")
    np.testing.assert_array_equal(everything > 0, labels == 1)
    assert np.argwhere(seed > 0).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    np.testing.assert_array_equal(seed[labels == 0], everything[labels == 0])
    assert (seed[5:7, 4:7] == 0).all()


def test_features_of_another_shape_are_refused():
    """Breaks when a batch, or bare tokens, are cut along the wrong axis."""
    with pytest.raises(ValueError, match=r"features must be \(d, h, w\), got \(2, 3, 4, 4\)"):
        cut(np.ones((2, 3, 4, 4)), TAU)
