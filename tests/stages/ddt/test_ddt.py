import numpy as np
import pytest
import torch
from scipy.stats import ortho_group
from sklearn.decomposition import PCA

from stages.ddt.ddt import Descriptors, Projection, intersection, transform
from stages.ddt.moments import Moments
from stages.ddt.parameters import SIGN_RULES
from stages.ddt.principal import choose_sign, principal_component


def features(images=9, dimension=12, side=6, seed=0, offset=3.0):
    """Descriptors with one clearly leading direction, well away from zero, exact in half precision."""
    generator = np.random.default_rng(seed)
    scales = np.linspace(0.2, 1.0, dimension)[:, None, None]
    noise = generator.normal(size=(images, dimension, side, side)) * scales
    leading = generator.normal(size=(images, 1, side, side)) ** 2 * np.linspace(1, -0.5, dimension)[:, None, None]
    values = np.round((noise + leading + offset) * 16) / 16
    return torch.from_numpy(values.astype(np.float32))


def moments_of(values, batch=4):
    moments = Moments()
    for chunk in values.split(batch):
        moments.update(descriptors_of(chunk))
    return moments.statistics()


def run(values, rule="energy", batch=4):
    descriptors = Descriptors()
    for chunk in values.split(batch):
        descriptors.append(chunk)
    return transform(descriptors, rule)


def descriptors_of(values):
    return values.movedim(1, -1).flatten(0, -2)


def rows(values):
    return descriptors_of(values).double().numpy()


def test_statistics_against_numpy():
    """Any term of the shifted sums left out or counted twice moves mean or covariance."""
    values, stats = features(), moments_of(features())
    flat = rows(values)
    energy = np.abs(flat).sum(axis=1)
    assert stats.count == len(flat)
    np.testing.assert_allclose(stats.mean, flat.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(stats.covariance, np.cov(flat.T, bias=True), atol=1e-6)
    expected = [np.cov(channel, energy, bias=True)[0, 1] for channel in flat.T]
    np.testing.assert_allclose(stats.energy_covariance, expected, atol=1e-5)
    assert stats.energy_variance == pytest.approx(energy.var(), rel=1e-5)


def test_large_mean_does_not_cost_digits():
    """Unshifted float32 sums about a mean of 1000 would leave a covariance of pure rounding error."""
    values = features(images=40) + 1000
    stats = moments_of(values)
    np.testing.assert_allclose(stats.covariance, np.cov(rows(values).T, bias=True), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_component_against_sklearn(seed):
    """The streamed statistics must give the component of exact PCA to 1e-7."""
    values = features(seed=seed)
    expected = PCA(1, svd_solver="full").fit(rows(values))
    result = principal_component(moments_of(values))
    assert abs(abs(result.component @ expected.components_[0]) - 1) < 1e-7
    assert result.eigenvalues[0] == pytest.approx(expected.explained_variance_[0] * (1 - 1 / len(rows(values))))
    assert result.residual <= 1e-10
    assert not result.degenerate


def test_maps_are_centred_with_the_eigenvalue_as_variance():
    """Projecting without the mean, or by a component that is not of unit length, breaks both identities."""
    result = run(features())
    assert abs(result.maps.mean(dtype=np.float64)) < 1e-5
    assert result.maps.var(dtype=np.float64) == pytest.approx(result.principal.eigenvalues[0], rel=1e-5)


def test_invariances():
    """A constant added to all descriptors, a rotation of channels, order and duplicates must not change the maps."""
    values = features().double()
    expected = run(values, "max_abs_proj").maps
    rotation = torch.from_numpy(ortho_group.rvs(values.shape[1], random_state=1))
    rotated = torch.einsum("bdhw,de->behw", values, rotation)
    order = torch.randperm(len(values), generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(run(values + 2.0, "max_abs_proj").maps, expected, atol=1e-5)
    np.testing.assert_allclose(run(rotated, "max_abs_proj").maps, expected, atol=2e-2)  # rounded to half precision
    np.testing.assert_allclose(run(values[order], "max_abs_proj").maps, expected[order.numpy()], atol=1e-5)
    np.testing.assert_allclose(run(values.repeat(2, 1, 1, 1), "max_abs_proj").maps[:9], expected, atol=1e-5)
    np.testing.assert_allclose(run(values, "max_abs_proj", batch=1).maps, expected, atol=1e-5)


@pytest.mark.parametrize("rule", SIGN_RULES)
def test_planted_foreground(rule):
    """A direction shared by a small region must give exactly that region, positive, under every rule."""
    generator = np.random.default_rng(2)
    planted = np.zeros((8, 10, 10), dtype=bool)
    for mask in planted:
        y, x = generator.integers(0, 6, 2)
        mask[y : y + 4, x : x + 3] = True
    direction = np.abs(generator.normal(size=16))[:, None, None]
    noise = generator.normal(size=(8, 16, 10, 10)) * 0.02
    result = run(torch.from_numpy(planted[:, None] * direction + noise + 0.5).float(), rule)
    np.testing.assert_array_equal(result.maps > 0, planted)
    assert result.orientation.positive_fraction == pytest.approx(0.12)
    assert not result.orientation.disagreement
    assert result.orientation.margin > 0.05


def test_rules_follow_their_definitions():
    """Each rule fixes another property of component or maps; a swapped sign is the method's silent failure."""
    for seed in range(8):
        values = features(seed=seed, images=3, offset=0.0)
        energy = values.abs().sum(dim=1).numpy()
        by_rule = {rule: run(values, rule) for rule in SIGN_RULES}
        assert np.cov(by_rule["energy"].maps.ravel(), energy.ravel())[0, 1] > 0
        component = by_rule["max_abs_coef"].principal.component
        assert component[np.abs(component).argmax()] > 0
        maps = by_rule["max_abs_proj"].maps.ravel()
        assert maps[np.abs(maps).argmax()] > 0
        assert (by_rule["skew"].maps.astype(np.float64) ** 3).mean() > 0
        signs = {tuple(np.sign(result.principal.component)) for result in by_rule.values()}
        assert all(result.orientation.disagreement == (len(signs) > 1) for result in by_rule.values())


def test_energy_margin_is_the_correlation():
    """The margin tells a user which classes to look at; on another scale the numbers mean nothing."""
    values = features()
    result = run(values)
    energy = values.abs().sum(dim=1).numpy()
    expected = np.corrcoef(result.maps.ravel(), energy.ravel())[0, 1]
    assert result.orientation.margin == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("values", [torch.full((3, 5, 4, 4), 7.3), torch.zeros(2, 5, 4, 4), torch.randn(1, 5, 1, 1)])
def test_descriptors_that_do_not_vary(values):
    """Rounding noise must not be taken for a component: such a class is flagged and its maps are zero."""
    result = run(values)
    assert result.principal.degenerate
    assert not result.maps.any()
    assert (result.orientation.sign, result.orientation.margin) == (1, 0.0)


def test_one_image_is_enough():
    """196 descriptors of one image have a component; only n = 0 is an error."""
    assert not run(features(images=1)).principal.degenerate
    with pytest.raises(ValueError, match="no descriptors"):
        Moments().statistics()


def test_kept_descriptors_project_like_the_features():
    """A new image of the class must get the map that it would have had in training."""
    values = features()
    descriptors = Descriptors()
    descriptors.append(values[:5])
    descriptors.append(values[5:])
    assert sum(chunk.nbytes for chunk in descriptors.kept) == values.numel() * 2
    result = transform(descriptors)
    again = Projection(result.principal.mean, result.principal.component).of(values)
    np.testing.assert_allclose(again.numpy(), result.maps, atol=1e-6)


@pytest.mark.parametrize("budget", [0, 1, 2 * 4 * 36 * 12, 10**9])
def test_spilled_descriptors_give_the_same_bits(tmp_path, budget):
    """Breaks when a chunk is lost, read twice or from another one's place in the file, or memory exceeds the budget."""
    values = features()
    expected = run(values)
    descriptors = Descriptors(budget, str(tmp_path))
    for chunk in values.split(4):
        descriptors.append(chunk)
    result = transform(descriptors)
    np.testing.assert_array_equal(result.maps, expected.maps)
    kept = descriptors.kept
    assert kept.in_memory <= budget
    assert kept.in_memory + kept.spilled == values.numel() * 2
    assert list(tmp_path.iterdir()) == []


def test_ddt_plus_is_positive_where_both_layers_are():
    """Breaks when the grids are mixed up, or one layer's larger scale decides alone."""
    coarse = np.array([[[1.0, -1.0], [1.0, -1.0]]], np.float32)
    fine = np.full((1, 8, 8), -300.0, np.float32)
    fine[0, :4] = 500.0
    both = intersection(coarse, fine, (1.0, 400.0))
    assert both.shape == (1, 8, 8)
    expected = np.zeros((8, 8), bool)
    expected[:4, :4] = True
    np.testing.assert_array_equal(both[0] > 0, expected)
    np.testing.assert_array_equal(intersection(fine, coarse, (400.0, 1.0)), both)
    assert both[0, 0, 0] == pytest.approx(1.0)
    assert both[0, 7, 0] == pytest.approx(-0.75)


def test_ddt_plus_with_a_degenerate_layer_is_empty():
    """Breaks when a layer that says nothing is divided by its deviation of 0."""
    assert intersection(np.ones((2, 4, 4)), np.zeros((2, 4, 4)), (1.0, 0.0)).max() == 0


def test_bad_features_are_refused():
    """One NaN would make the whole class's covariance NaN."""
    values = features(images=2)
    values[1, 2, 3, 3] = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        moments_of(values)
    with pytest.raises(ValueError, match="65504"):
        run(features() * 1e6)
    moments = Moments()
    moments.update(torch.ones(3, 4))
    with pytest.raises(ValueError, match="channels"):
        moments.update(torch.ones(3, 5))
    with pytest.raises(ValueError, match="empty"):
        moments.update(torch.zeros(0, 4))


def test_unknown_rule():
    """A misspelt rule must not fall back to another one."""
    stats = moments_of(features())
    with pytest.raises(ValueError, match="energy"):
        choose_sign(principal_component(stats), stats, np.zeros(3), "energie")  # type: ignore[arg-type]
