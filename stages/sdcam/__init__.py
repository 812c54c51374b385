"""Self-distillation CAM, the seeds of LCAR (Pan et al., AAAI 2023)."""
