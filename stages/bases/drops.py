"""Where the learning rate falls, as every training's options say it."""

from collections.abc import Sequence

from pipeline.base.errors import UsageError

__all__ = ["check_drops"]


def check_drops(stage: str, drops: Sequence[float]) -> None:
    """Refuse drops of the learning rate that are not within the training. Raises UsageError."""
    if not all(0 < drop < 1 for drop in drops):
        raise UsageError(f"stage {stage}: drops must lie between 0 and 1, not {list(drops)}")
