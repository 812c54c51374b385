"""Pseudo labels and predictions as data sets in the formats that other tools read."""
