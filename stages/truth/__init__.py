"""Ground truth of a data set: boxes, masks and regions that are not scored. For scoring only."""
