"""Affinity refinement of score maps (Pan et al., AAAI 2023: ARM of LCAR)."""
