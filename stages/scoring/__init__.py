"""The evaluator: protocols, threshold sweeps, counts, masks, error analysis, trivial and foreign predictors."""
