"""Evaluation: protocols, threshold sweeps, counts, masks, error analysis and trivial predictors."""
