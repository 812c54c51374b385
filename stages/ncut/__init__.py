"""Foregrounds without classes: the normalized cut of an image's patch tokens (TokenCut, Wang et al. 2022)."""
