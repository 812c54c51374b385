"""Settings of deep descriptor transforming."""

from typing import Literal, get_args

__all__ = ["SIGN_RULES", "SignRule"]

SignRule = Literal["energy", "max_abs_coef", "max_abs_proj", "skew"]
SIGN_RULES: tuple[SignRule, ...] = get_args(SignRule)
