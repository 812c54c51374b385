"""Score maps to boxes and masks: threshold and component rule, no forward pass."""
