"""Formats of other tools: what is exported of an image, and the files that each format makes of it."""
