"""The chance that a box is right: logistic regression on its signals, fitted to boxes of the same data set."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from stages.scoring.ragged import BoolArray, FloatArray, IntArray

__all__ = ["Reliability", "cross_fitted", "design", "fit", "reliability"]

_STRENGTH = 0.1
"""Inverse strength of the L2 penalty; strong enough to fit all signals on thirty images."""


class Model(Protocol):
    """A fitted model of scikit-learn."""

    def predict_proba(self, signals: FloatArray) -> FloatArray:
        """Probabilities ``(N, 2)`` of wrong and right, from signals ``(N, K)``."""


class Reliability(NamedTuple):
    """How well qualities tell right boxes from wrong ones.

    right: percent of right boxes. auc: area under the ROC curve, with its standard error (Hanley and McNeil, 1982); NaN
    where all are right or all wrong. better, worse: percent of right boxes in the halves of higher and lower quality.
    """

    images: int
    right: float
    auc: float
    auc_error: float
    better: float
    worse: float


def design(signals: Sequence[Sequence[FloatArray]]) -> list[FloatArray]:
    """Design matrix ``(N, K + S)`` of each of S sources: K signals, and the source as a one-hot code.

    signals: for each source its K signals ``(N,)``. One model for all sources makes their qualities comparable.
    """
    which = np.eye(len(signals))
    return [
        np.column_stack([*own, *(np.full(len(own[0]), one) for one in which[place])])
        for place, own in enumerate(signals)
    ]


def fit(signals: FloatArray, right: BoolArray) -> Model | None:
    """Fit a logistic regression to signals ``(N, K)``, NaN where unknown; None if all boxes are right, or none.

    Signals are standardized; missing values are replaced by the mean, and an indicator of missing values is added.
    """
    if not len(right) or right.all() or not right.any():
        return None
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(
        SimpleImputer(add_indicator=True, keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(C=_STRENGTH, max_iter=1000),
    )
    fitted: Model = model.fit(signals, right)
    return fitted


def cross_fitted(signals: FloatArray, right: BoolArray, folds: IntArray) -> FloatArray:
    """Probability ``(N,)`` of being right, by a model fitted to the other folds ``(N,)``; NaN without a model."""
    found = np.full(len(right), np.nan)
    for fold in np.unique(folds):
        own = folds == fold
        model = fit(signals[~own], right[~own])
        if model is not None:
            found[own] = model.predict_proba(signals[own])[:, 1]
    return found


def reliability(quality: FloatArray, right: BoolArray) -> Reliability:
    """How well qualities ``(N,)`` predict which boxes are right, ``(N,)`` bool. Raises: ValueError without an image."""
    if not len(right):
        raise ValueError("no image to judge qualities by")
    order = np.argsort(-quality, kind="stable")
    half = (len(order) + 1) // 2
    better, worse = right[order[:half]], right[order[half:]]
    auc = _auc(quality, right)
    return Reliability(
        len(right),
        100 * float(right.mean()),
        auc,
        _auc_error(auc, int(right.sum()), int((~right).sum())),
        100 * float(better.mean()),
        100 * float(worse.mean()) if len(worse) else float("nan"),
    )


def _auc(quality: FloatArray, right: BoolArray) -> float:
    if right.all() or not right.any():
        return float("nan")
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(right, quality))


def _auc_error(auc: float, positives: int, negatives: int) -> float:
    """Equations 1 and 2 of Hanley and McNeil, 1982."""
    if not positives or not negatives:
        return float("nan")
    pairs, ties = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = auc * (1 - auc) + (positives - 1) * (pairs - auc**2) + (negatives - 1) * (ties - auc**2)
    return float(np.sqrt(spread / (positives * negatives)))
