"""A faster equal of `stages.scg.self_correlation` on a CPU, its passes fused by hand; that module is its oracle."""
