"""The run config: YAML, `--set`, strict types, and the stages that it stands for."""
