"""Deep descriptor transforming (Wei et al. 2017)."""
