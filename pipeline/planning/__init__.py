"""What is to be computed: the order of stages, their recipes and shards, what is done, and why the rest is not."""
