"""Looking after a run root: damage, garbage, lost images, and what hangs on a shard."""
