"""Score maps and boxes of other programs as those of a run."""
