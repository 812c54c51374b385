"""The measured comparisons: `make bench TOPIC=x` and `make gpu-check`."""
