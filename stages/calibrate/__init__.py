"""Thresholds chosen on dev."""
