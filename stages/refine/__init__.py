"""Score maps made better by what the image and its features say: self-correlation maps (Pan et al. 2021)."""
