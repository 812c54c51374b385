"""The interfaces: of a stage, of the context that its workers use, and of a runner."""
