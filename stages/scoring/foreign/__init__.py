"""Scores the output of other programs against wsolevaluation's metadata: score maps, boxes, classes."""
