"""Every metric of every method, beside the trivial predictors."""
