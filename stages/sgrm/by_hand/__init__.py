"""A faster form of `stages.sgrm.aggregation_net` for CPUs, its gradients written out; tests compare the two."""
