"""Score maps counted against ground truth at every threshold."""
