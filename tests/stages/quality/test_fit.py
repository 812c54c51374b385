"""The small model of signals: what it may see, how good it says it is."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from stages.bases.halves import FOLDS, fold_of
from stages.quality.fit import cross_fitted, fit, reliability

RANDOM = np.random.default_rng(0)
IDS = [f"image{number}" for number in range(200)]
FOLD = np.array([fold_of(image_id) for image_id in IDS])


def made(informative: float) -> tuple[np.ndarray, np.ndarray]:
    right = RANDOM.random(len(IDS)) < 0.6
    signals = RANDOM.normal(size=(len(IDS), 15))
    signals[:, 3] += informative * right
    signals[::7, 5] = np.nan
    return signals, right


def test_an_image_is_judged_by_a_model_that_did_not_see_it():
    """Breaks when a box's own truth, or that of its fold, enters its quality."""
    signals, right = made(1.0)
    found = cross_fitted(signals, right, FOLD)
    for fold in range(FOLDS):
        other = right.copy()
        other[fold == FOLD] ^= True
        assert (cross_fitted(signals, other, FOLD)[fold == FOLD] == found[fold == FOLD]).all()


def test_quality_tells_right_from_wrong_where_signals_do_and_not_else():
    """Breaks when the model overfits what says nothing, or misses what says much."""
    for informative, low, high in ((3.0, 0.95, 1.0), (0.0, 0.35, 0.65)):
        signals, right = made(informative)
        reached = reliability(cross_fitted(signals, right, FOLD), right)
        assert low <= reached.auc <= high, informative


def test_thirty_boxes_say_something():
    """Breaks when fifteen signals overfit thirty images."""
    reached = []
    for _ in range(20):
        signals, right = made(2.0)
        model = fit(signals[:30], right[:30])
        assert model is not None
        reached.append(reliability(model.predict_proba(signals[30:])[:, 1], right[30:]).auc)
    assert np.mean(reached) >= 0.8


def test_auc_and_halves_are_as_defined():
    """Breaks when ties or halves are counted wrongly; oracles: Mann and Whitney's U, and sorting."""
    quality, right = np.round(RANDOM.random(101), 1), RANDOM.random(101) < 0.5
    found = reliability(quality, right)
    u = mannwhitneyu(quality[right], quality[~right]).statistic
    assert found.auc == pytest.approx(u / (right.sum() * (~right).sum()))
    order = sorted(range(101), key=lambda place: (-quality[place], place))
    assert found.better == pytest.approx(100 * right[order[:51]].mean())
    assert found.worse == pytest.approx(100 * right[order[51:]].mean())
    assert found.images == 101
    assert found.right == pytest.approx(100 * right.mean())


def test_the_standard_error_is_that_of_many_samples():
    """Breaks when the formula is another one; oracle: the spread of AUC over samples of two normal distributions."""
    aucs, errors = [], []
    for _ in range(400):
        right = np.arange(100) < 60
        found = reliability(RANDOM.normal(size=100) + right, right)
        aucs.append(found.auc)
        errors.append(found.auc_error)
    assert np.mean(errors) == pytest.approx(np.std(aucs), rel=0.15)


def test_without_both_kinds_there_is_no_model():
    """Breaks when a model is fitted to boxes that are all right."""
    signals, right = made(1.0)
    assert fit(signals, np.ones_like(right)) is None
    assert np.isnan(cross_fitted(signals, np.zeros_like(right), FOLD)).all()
    assert np.isnan(reliability(np.ones(5), np.ones(5, bool)).auc)
