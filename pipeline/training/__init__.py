"""The training loop, its checkpoints and curves, and a training of one rank in this process."""
