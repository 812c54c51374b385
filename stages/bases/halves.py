"""Parts of a split for cross-fitting: each part is scored with what was chosen on the other parts."""

from pipeline.base.hashing import seed_from

__all__ = ["FOLDS", "HALVES", "fold_of", "half_of"]

HALVES = (0, 1)
FOLDS = 5


def half_of(image_id: str) -> int:
    """The half of an image, 0 or 1, by the hash of its id: it never changes when other images are added.

    Independent of the draw of `dev` from the training images, so `dev` has both halves too.
    """
    return seed_from("half", image_id) % len(HALVES)


def fold_of(image_id: str) -> int:
    """The fold of an image, 0 to 4, by the hash of its id."""
    return seed_from("quality", image_id) % FOLDS
