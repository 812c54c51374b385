"""Class activation maps (Zhou et al. 2016)."""
