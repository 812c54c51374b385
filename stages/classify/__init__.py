"""Training or loading the classifier."""
