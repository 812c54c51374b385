"""Settings of I2C's losses and seeds."""

from typing import Literal, get_args

__all__ = ["DISTANCES", "SEED_RULES", "Distance", "SeedRule"]

Distance = Literal["euclidean", "squared"]
DISTANCES: tuple[Distance, ...] = get_args(Distance)
SeedRule = Literal["random", "raster"]
SEED_RULES: tuple[SeedRule, ...] = get_args(SeedRule)
