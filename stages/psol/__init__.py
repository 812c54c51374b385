"""Pseudo-supervised object localization (Zhang et al. 2020)."""
