"""Inter-image communication (Zhang et al. 2020)."""
