"""Everything that knows Ray: the pool of actors that computes shards, and trainings on Ray Train."""
