"""Applying any trained predictor to any split of any data set."""
