"""What a process that computes shards does, wherever it runs."""
