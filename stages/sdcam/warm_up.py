"""A learning rate that rises linearly, then falls by a cosine."""

import math

__all__ = ["warm_up_cosine"]


def warm_up_cosine(step: int, steps: int, warm_up: float) -> float:
    """Factor on the learning rate at a step, counted from 0.

    steps: of the whole training. warm_up: fraction of them over which the factor rises to 1; from there it falls to 0.
    """
    rising = round(warm_up * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    return (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising))) / 2
