"""A faster equal of `stages.sgrm.aggregation_net` on a CPU, its gradients written out; that module is its oracle."""
