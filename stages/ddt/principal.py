"""First principal component of a class's descriptors, and the choice of its sign.

Both p and -p are eigenvectors, and the mask of one is the complement of the other's: the sign is the method's one free
choice, so the rule is explicit, its margin is reported, and so is any disagreement between rules.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stages.ddt.leading import leading
from stages.ddt.moments import Statistics
from stages.ddt.parameters import SIGN_RULES, SignRule

__all__ = ["Orientation", "PrincipalComponent", "choose_sign", "principal_component"]

_MAX_RESIDUAL = 1e-10
_MIN_RELATIVE_VARIANCE = 1e-12


@dataclass(frozen=True)
class PrincipalComponent:
    """The direction along which a class's descriptors vary most, its sign not yet chosen.

    mean: ``(d,)`` float64. component: ``(d,)`` float64 of unit length, zeros when degenerate. eigenvalues: the two
    largest of the covariance, ``(2,)`` float64; close ones make the component unstable.
    residual: ``|C p - lambda p| / lambda``. degenerate: the descriptors do not vary (or there is only one), and every
    map is zero.
    """

    mean: np.ndarray
    component: np.ndarray
    eigenvalues: np.ndarray
    residual: float
    degenerate: bool


@dataclass(frozen=True)
class Orientation:
    """The chosen sign and how clear the choice was.

    sign: +1 or -1, to multiply the component with. margin: how clear the choice is, on the rule's own scale; 0: a tie.
    positive_fraction: fraction of the projections that are positive after the choice. disagreement: whether any
    other rule chooses the other sign.
    """

    rule: SignRule
    sign: int
    margin: float
    positive_fraction: float
    disagreement: bool


def principal_component(statistics: Statistics) -> PrincipalComponent:
    """Solve for the first eigenvector of the covariance in float64.

    Raises: ArithmeticError when the solver's residual exceeds 1e-10 of the eigenvalue.
    """
    covariance, mean = statistics.covariance, statistics.mean
    eigenvalues, component = leading(covariance)
    largest = eigenvalues[0]
    if largest <= _MIN_RELATIVE_VARIANCE * max(float(mean @ mean), np.finfo(np.float64).tiny):
        return PrincipalComponent(mean, np.zeros_like(mean), eigenvalues, 0.0, degenerate=True)
    residual = float(np.linalg.norm(covariance @ component - largest * component) / largest)
    if residual > _MAX_RESIDUAL:
        raise ArithmeticError(f"eigenvector residual {residual:.1e} exceeds {_MAX_RESIDUAL:.0e}")
    return PrincipalComponent(mean, component, eigenvalues, residual, degenerate=False)


def choose_sign(
    principal: PrincipalComponent, statistics: Statistics, projections: np.ndarray, rule: SignRule = "energy"
) -> Orientation:
    """Choose the component's sign by one rule and compare it with the others.

    energy: projections covary with ``|g|_1``, as foreground activates more; the margin is that correlation.
    max_abs_coef: the largest coefficient of the component is positive (scikit-learn since 1.5, MATLAB).
    max_abs_proj: the largest projection is positive (scikit-learn up to 1.4, what PSOL ran on).
    skew: the projections' third moment is positive, as a small foreground stands out; the margin is the skewness.
    The margins of both max rules are the relative lead of the larger of the two extremes.

    projections: all maps of the class under the component as given, any shape.
    Raises: ValueError for an unknown rule. A degenerate component gets sign +1 and margin 0.
    """
    if rule not in SIGN_RULES:
        raise ValueError(f"sign rule must be one of {', '.join(SIGN_RULES)}, got {rule!r}")
    if principal.degenerate:
        return Orientation(rule, sign=1, margin=0.0, positive_fraction=0.0, disagreement=False)
    votes = _votes(principal, statistics, projections)
    signs = {name: 1 if vote >= 0 else -1 for name, vote in votes.items()}
    return Orientation(
        rule=rule,
        sign=signs[rule],
        margin=abs(votes[rule]),
        positive_fraction=float(np.mean(signs[rule] * projections > 0)),
        disagreement=len(set(signs.values())) > 1,
    )


def _votes(principal: PrincipalComponent, statistics: Statistics, projections: np.ndarray) -> Mapping[SignRule, float]:
    """The signed margin of every rule."""
    variance = principal.eigenvalues[0]
    energy_scale = np.sqrt(variance * statistics.energy_variance)
    energy = float(statistics.energy_covariance @ principal.component)
    values = projections.astype(np.float64)
    return {
        "energy": energy / energy_scale if energy_scale > 0 else 0.0,
        "max_abs_coef": _lead(principal.component),
        "max_abs_proj": _lead(values),
        "skew": float(np.mean(values**3) / variance**1.5),
    }


def _lead(values: np.ndarray) -> float:
    """How far the positive extreme exceeds the negative one, relative to the larger of the two."""
    high, low = float(values.max()), float(-values.min())
    larger = max(abs(high), abs(low))
    return (high - low) / larger if larger > 0 else 0.0
