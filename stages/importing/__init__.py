"""Importing score maps and boxes of other programs into a run."""
