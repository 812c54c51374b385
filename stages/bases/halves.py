"""The parts of a split for cross-fitting: what is scored on one part was chosen on the others."""

from pipeline.base.hashing import seed_from

__all__ = ["FOLDS", "HALVES", "fold_of", "half_of"]

HALVES = (0, 1)
FOLDS = 5


def half_of(image_id: str) -> int:
    """The half of an image, 0 or 1, by the hash of its id: it never changes when other images are added.

    Independent of the cut that makes `dev`, so `dev` has both halves too.
    """
    return seed_from("half", image_id) % len(HALVES)


def fold_of(image_id: str) -> int:
    """The fifth of an image, 0 to 4, in the same way."""
    return seed_from("quality", image_id) % FOLDS
