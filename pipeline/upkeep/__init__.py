"""Maintenance of a run root: damage, garbage, lost images, and the dependents of a shard."""
