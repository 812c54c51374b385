"""Structure-preserving activation (Pan et al. 2021)."""
