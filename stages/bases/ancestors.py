"""The upstream stages of a stage, as known at planning."""

from collections.abc import Iterator

from pipeline.store.records import Upstream

__all__ = ["REVIEWED", "ancestors", "of_drawn_boxes"]

REVIEWED = "reviewed"
"""The method of pseudo labels that a person drew or corrected."""

_IMPORTS = "import"


def ancestors(stage: Upstream) -> Iterator[Upstream]:
    """All upstream stages of a stage, direct and indirect, each once."""
    found: dict[str, Upstream] = {}
    waiting = [stage]
    while waiting:
        for upstreams in waiting.pop().inputs.values():
            new = [upstream for upstream in upstreams if upstream.name not in found]
            found |= {upstream.name: upstream for upstream in new}
            waiting += new
    return iter(found.values())


def of_drawn_boxes(stage: Upstream) -> bool:
    """Whether a stage's rows hold boxes that a person drew, or were made from such boxes or trained on them."""
    return any(
        each.recipe.kind == _IMPORTS and REVIEWED in (each.recipe.params.get("method"), each.name)
        for each in (stage, *ancestors(stage))
    )
