"""A classifier layer fitted to fixed features: multinomial logistic regression, regularized by cross-validation."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from stages.classify.parameters import FOLDS, STRENGTHS, UNCHOSEN_STRENGTH

__all__ = ["FittedHead", "fit_head"]

_TOLERANCE = 1e-5
_ITERATIONS = 1000
_ABSENT_BIAS = -20.0
"""Bias of a class without a training image; the largest logit of the others is never below 0."""
_LEAST_DEVIATION = 0.01


@dataclass(frozen=True)
class FittedHead:
    """A linear layer over features that are not standardized.

    weight: (C, K) float32. bias: (C,) float32. strength: the C of scikit-learn, the inverse of the weight of the L2
    term. folds: of the cross-validation that chose it; 0: too few images to choose. loss: mean log loss
    (nats) of held-out images in the cross-validation; without folds, of the training images.
    """

    weight: np.ndarray
    bias: np.ndarray
    strength: float
    folds: int
    loss: float


def fit_head(features: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> FittedHead:
    """Fit a classifier layer by multinomial logistic regression with an L2 term on the standardised features.

    Every feature is scaled to mean 0 and deviation 1 over the training images. The returned layer includes the scaling
    and takes features as they are. Strengths are tried from the strongest regularization down, as long as the
    cross-validated log loss falls; folds are stratified, seeded, and as many as the smallest class has images, at most
    `FOLDS`. Classes with one image are left out of the cross-validation. The fit takes one thread, so that its bytes do
    not depend on the number of threads.

    features: (n, K) float32; overwritten. labels: (n,) integers in [0, classes). A class without images gets weights of
    0 and a low bias. Raises: ValueError for features that are not finite, or of fewer than two classes.
    """
    if not np.isfinite(features).all():
        raise ValueError("the network gives features that are not finite: its weights do not fit these images")
    if len(np.unique(labels)) < 2:
        raise ValueError("a head tells classes apart, and the training images are of one")
    mean, deviation = _standardise(features)
    with threadpool_limits(1), _without_warnings():
        strength, folds, loss = _chosen_strength(features, labels, seed)
        model = _model(strength)
        model.fit(features, labels)
        loss = loss if folds else _log_loss(model, features, labels)
    weight, bias = _rows(model, classes, features.shape[1])
    weight /= deviation
    bias -= weight @ mean
    return FittedHead(weight.astype(np.float32), bias.astype(np.float32), strength, folds, loss)


def _standardise(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bring each feature to mean 0 and deviation 1, in place; returns both, (K,) float64.

    The deviation of a nearly constant feature counts as at least a hundredth of the features' usual one: scaled up
    without bounds, the feature would let a single unusual image decide.
    """
    mean = features.mean(axis=0, dtype=np.float64)
    features -= mean.astype(np.float32)
    deviation = np.sqrt(np.square(features).mean(axis=0, dtype=np.float64))
    usual = float(np.sqrt(np.square(deviation).mean())) or 1.0
    deviation = np.maximum(deviation, _LEAST_DEVIATION * usual)
    features /= deviation.astype(np.float32)
    return mean, deviation


def _chosen_strength(features: np.ndarray, labels: np.ndarray, seed: int) -> tuple[float, int, float]:
    """The strength of the lowest cross-validated log loss, the number of folds, and that loss."""
    counts = np.bincount(labels)
    judged = np.flatnonzero(counts[labels] > 1)
    present = np.unique(labels[judged])
    if len(present) < 2:
        return UNCHOSEN_STRENGTH, 0, float("nan")
    folds = min(FOLDS, int(counts[present].min()))
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    splits = [(judged[kept], judged[left]) for kept, left in splitter.split(judged[:, None], labels[judged])]
    best, least = STRENGTHS[0], float("inf")
    for strength, loss in _losses(features, labels, splits):
        if loss >= least:
            break
        best, least = strength, loss
    return best, folds, least


def _losses(
    features: np.ndarray, labels: np.ndarray, splits: Sequence[tuple[np.ndarray, np.ndarray]]
) -> Iterator[tuple[float, float]]:
    """Each strength and its mean log loss over held-out images; a fold's fit starts from its previous one."""
    models = [_model(STRENGTHS[0]) for _ in splits]
    for strength in STRENGTHS:
        total = 0.0
        for model, (kept, left) in zip(models, splits, strict=True):
            model.set_params(C=strength)
            model.fit(features[kept], labels[kept])
            total += _log_loss(model, features[left], labels[left]) * len(left)
        yield strength, total / sum(len(left) for _, left in splits)


def _model(strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, tol=_TOLERANCE, max_iter=_ITERATIONS, warm_start=True)


def _log_loss(model: LogisticRegression, features: np.ndarray, labels: np.ndarray) -> float:
    """The mean of -log p of the true class, nats."""
    of_truth = model.predict_proba(features)[np.arange(len(labels)), np.searchsorted(model.classes_, labels)]
    return float(-np.log(np.maximum(of_truth, np.finfo(np.float32).tiny)).mean(dtype=np.float64))


def _rows(model: LogisticRegression, classes: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Weight (C, K) and bias (C,), float64, of all classes; for two classes scikit-learn has one row."""
    weight, bias = np.zeros((classes, width)), np.full(classes, _ABSENT_BIAS)
    found, offset = model.coef_.astype(np.float64), model.intercept_.astype(np.float64)
    if len(model.classes_) == 2:
        found, offset = np.concatenate([-found, found]) / 2, np.concatenate([-offset, offset]) / 2
    weight[model.classes_], bias[model.classes_] = found, offset
    return weight, bias


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Ignore missing convergence: a fit that stops at float32's precision is as good as one within the tolerance."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
