"""Check of the learning-rate milestones of a training (parameter `drops`)."""

from collections.abc import Sequence

from pipeline.base.errors import UsageError

__all__ = ["check_drops"]


def check_drops(stage: str, drops: Sequence[float]) -> None:
    """Refuse milestones, fractions of the training, that are not between 0 and 1. Raises UsageError."""
    if not all(0 < drop < 1 for drop in drops):
        raise UsageError(f"stage {stage}: drops must lie between 0 and 1, not {list(drops)}")
