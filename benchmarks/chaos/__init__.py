"""Faults by seed, injected into runs of mini.yaml: what recovery costs, and whether the tables are equal after it."""
