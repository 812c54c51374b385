"""Self-correlation map generating (Pan et al., CVPR 2021): SPA's second stage, on any map."""
