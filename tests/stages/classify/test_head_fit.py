import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from stages.classify import head_fit
from stages.classify.head_fit import fit_head
from stages.classify.parameters import FEATURE_BYTES, UNCHOSEN_STRENGTH, check_classes, check_feature_memory


def clusters(images, classes, width=20, spread=1.0, seed=0):
    """Features around a centre of each class, (n, K) float32, scaled and shifted differently in each; labels (n,)."""
    generator = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    centres = generator.normal(size=(classes, width))
    values = centres[labels] + spread * generator.normal(size=(images, width))
    return (values * np.geomspace(0.1, 30, width) + np.arange(width)).astype(np.float32), labels


def logits(fitted, features):
    return features.astype(np.float64) @ fitted.weight.T.astype(np.float64) + fitted.bias


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_folded_layer_says_what_logistic_regression_on_standardised_features_says(classes):
    """Breaks when mean and deviation are folded back wrongly, or the two rows of a two-class fit are not its one."""
    features, labels = clusters(90, classes)
    fitted = fit_head(features.copy(), labels, classes, seed=0)
    standardised = (features - features.mean(0)) / features.std(0)
    model = LogisticRegression(C=fitted.strength, tol=1e-8, max_iter=5000).fit(standardised.astype(np.float64), labels)
    expected = model.predict_proba(standardised)
    found = torch.from_numpy(logits(fitted, features)).softmax(dim=1).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert {str(values.dtype) for values in (fitted.weight, fitted.bias)} == {"float32"}


def test_the_strength_follows_the_data():
    """Breaks when the strength is not chosen by images left out: noise needs a strong term, clear classes none."""
    features, labels = clusters(120, 3, spread=0.3)
    clear = fit_head(features.copy(), labels, 3, seed=0)
    noise = fit_head(features, np.random.default_rng(1).permutation(labels), 3, seed=0)
    assert noise.strength < 0.1 < clear.strength
    assert (noise.folds, clear.folds) == (5, 5)


def test_the_loss_is_that_of_images_left_out():
    """Breaks when the loss of the table is that of the images the head was fitted to: labels at random cost log C."""
    features, _ = clusters(200, 4)
    labels = np.random.default_rng(1).integers(4, size=200)
    fitted = fit_head(features, labels, 4, seed=0)
    assert fitted.loss == pytest.approx(np.log(4), abs=0.1)


def test_the_seed_chooses_the_folds_and_the_same_seed_gives_the_same_bytes():
    """Breaks when the folds are not seeded, or the number of threads reaches the fit."""
    features, labels = clusters(60, 3, spread=2.0)
    one, same, other = (fit_head(features.copy(), labels, 3, seed) for seed in (0, 0, 1))
    assert one.weight.tobytes() == same.weight.tobytes()
    assert one.loss == same.loss != other.loss


@pytest.mark.parametrize(("sizes", "folds"), [((9, 9, 2), 2), ((9, 4, 9), 4), ((9, 9, 1), 5), ((9, 1, 1), 0)])
def test_the_smallest_class_limits_the_folds_and_a_single_image_has_no_say(sizes, folds):
    """Breaks when a fold lacks a class, or a class of one image makes the fit fail."""
    labels = np.repeat(np.arange(3), sizes)
    centres = 5 * np.random.default_rng(3).normal(size=(3, 8))
    features = (centres[labels] + np.random.default_rng(4).normal(size=(len(labels), 8))).astype(np.float32)
    fitted = fit_head(features.copy(), labels, 3, seed=0)
    assert fitted.folds == folds
    assert fitted.folds or fitted.strength == UNCHOSEN_STRENGTH
    assert np.isfinite(fitted.loss)
    assert (logits(fitted, features).argmax(1) == labels).all()


def test_one_image_of_each_class_is_told_apart():
    """Breaks when the smallest training set that has two classes gives an error or nonsense."""
    features = np.array([[0, 1], [1, 0]], np.float32)
    fitted = fit_head(features.copy(), np.array([1, 0]), 2, seed=0)
    assert (fitted.folds, logits(fitted, features).argmax(1).tolist()) == (0, [1, 0])


def test_a_class_without_images_is_never_predicted():
    """Breaks when an untrained row outbids the others on images unlike those of training."""
    features, labels = clusters(40, 2)
    fitted = fit_head(features.copy(), 2 * labels, 4, seed=0)
    wild = np.random.default_rng(0).normal(size=(200, features.shape[1])).astype(np.float32) * 100
    found = torch.from_numpy(logits(fitted, wild)).softmax(dim=1).numpy()
    assert found[:, [1, 3]].max() < 1e-6
    assert not fitted.weight[[1, 3]].any()


def test_a_feature_that_hardly_moves_does_not_decide_alone():
    """Breaks when a dead channel is divided by nothing, or a nearly dead one gets weights without bounds."""
    features, labels = clusters(60, 3)
    features[:, 4] = 7.0
    features[:, 5] = 1e-7 * labels
    fitted = fit_head(features.copy(), labels, 3, seed=0)
    assert np.isfinite(fitted.weight).all()
    assert np.abs(fitted.weight[:, 4:6]).max() < 10 * np.abs(fitted.weight).max()
    features[0, 5] = 1.0
    assert np.abs(fitted.weight[:, 5]).max() < 100


def test_what_cannot_be_fitted_is_one_line():
    """Breaks when broken weights or a single class give a traceback of scikit-learn."""
    features, labels = clusters(12, 3)
    with pytest.raises(ValueError, match="of one"):
        fit_head(features.copy(), np.zeros(12, int), 3, seed=0)
    features[3, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        fit_head(features, labels, 3, seed=0)
    with pytest.raises(ValueError, match="of one, 'raccoon': epochs: 0"):
        check_classes(["raccoon"])
    check_classes(["raccoon", "tench"])


def test_features_that_do_not_fit_are_refused_with_their_size():
    """Breaks when a head of all of ImageNet fills the memory, or one that fits is refused."""
    check_feature_memory(FEATURE_BYTES // 4 // 2048, 2048)
    with pytest.raises(ValueError, match=r"1281167 x 2048 numbers are 9\.8 GiB, more than 4"):
        check_feature_memory(1281167, 2048)


def test_the_path_ends_where_the_loss_rises(monkeypatch):
    """Breaks when strengths beyond the best are fitted for nothing, or the best is not the one returned."""
    tried = []
    losses = iter([3.0, 2.0, 1.0, 1.5, 0.5])

    def seen(features, labels, splits):
        for strength in head_fit.STRENGTHS:
            tried.append(strength)
            yield strength, next(losses)

    monkeypatch.setattr(head_fit, "_losses", seen)
    features, labels = clusters(30, 3)
    fitted = fit_head(features, labels, 3, seed=0)
    assert (fitted.strength, fitted.loss) == (head_fit.STRENGTHS[2], 1.0)
    assert tried == list(head_fit.STRENGTHS[:4])
