"""The 1,000 classes of ImageNet's classification task, as published networks number them."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

__all__ = ["imagenet_numbers", "imagenet_wnids"]


@cache
def imagenet_wnids() -> tuple[str, ...]:
    """The WordNet ids ("n01440764") of ILSVRC 2012's 1,000 classes, sorted: the index of an id is its class number."""
    text = files(__package__).joinpath("imagenet_wnids.txt").read_text(encoding="ascii")
    return tuple(text.split())


def imagenet_numbers(classes: Sequence[str]) -> list[int]:
    """The class numbers, 0 to 999, of classes named by their wnids, in their order.

    Raises: ValueError that names the first class that is not among the 1,000.
    """
    numbers = {wnid: number for number, wnid in enumerate(imagenet_wnids())}
    unknown = next((name for name in classes if name not in numbers), None)
    if unknown is not None:
        raise ValueError(f"class {unknown!r} is none of ImageNet's 1,000, which are called by wnids such as n01440764")
    return [numbers[name] for name in classes]
