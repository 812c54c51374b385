"""The two halves of a split for cross-fitting: what is scored on one half was chosen on the other."""

from pipeline.base.hashing import seed_from

__all__ = ["HALVES", "half_of"]

HALVES = (0, 1)


def half_of(image_id: str) -> int:
    """The half of an image, 0 or 1, by the hash of its id: it never changes when other images are added.

    Independent of the cut that makes `dev`, so `dev` has both halves too.
    """
    return seed_from("half", image_id) % len(HALVES)
