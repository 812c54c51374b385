"""What a stage is, what its workers may use of the world, and what a runner does with it."""
