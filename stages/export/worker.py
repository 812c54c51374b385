"""What stage `export` computes in a run: nothing."""

from pipeline.store.records import ShardResult, Task

__all__ = ["Nothing"]


class Nothing:
    """An empty result, which records that the inputs are complete."""

    def __call__(self, task: Task) -> ShardResult:
        """No table and no file."""
        return ShardResult()
