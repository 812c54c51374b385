"""Self-guided re-prediction of masks (Pan et al., AAAI 2023: SGRM of LCAR)."""
