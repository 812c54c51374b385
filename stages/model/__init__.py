"""A trained model of another run."""
