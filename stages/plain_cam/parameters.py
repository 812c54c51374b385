"""The techniques by name, and the thresholds of SPG's guides."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

__all__ = ["TECHNIQUES", "Guides", "Sureness", "TechniqueName"]

TechniqueName = Literal["none", "has", "acol", "spg", "adl", "cutmix"]
TECHNIQUES: tuple[TechniqueName, ...] = get_args(TechniqueName)


@dataclass(frozen=True)
class Sureness:
    """Thresholds of a guide: object above `high`, background below `low`. Raises ValueError for low above high."""

    high: float
    low: float

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"a guide's low threshold {self.low:g} is above its high one {self.high:g}")


class Guides(NamedTuple):
    """Thresholds of each guide: the class map for B2, B2 for B1, and the mean of both for C."""

    attention: Sureness
    deep: Sureness
    fused: Sureness
