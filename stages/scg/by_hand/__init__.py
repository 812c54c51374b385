"""A faster form of `stages.scg.self_correlation` for CPUs, with fused passes; tests compare it with that module."""
