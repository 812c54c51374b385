"""On which split a threshold was chosen, as stages know it when they are planned."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.store.records import Inputs, Upstream
from stages.bases.ancestors import ancestors
from stages.bases.scored_inputs import source_names
from stages.bases.splits import boxed_splits, splits_of

__all__ = ["Choice", "choice_split", "choices_behind"]

CHOOSES = "calibrate"
"""The kind of stage that chooses a threshold by ground-truth boxes."""

_SLOT = "thresholds"
_TAKES = "consensus"
"""The kind of stage that takes boxes of others as they are."""
_FIRST, _ELSE = "dev", "val"


@dataclass(frozen=True)
class Choice:
    """A threshold that something hangs on. stage: which chose it; split: on whose images.

    cross_fitted: each image of that split has a threshold that was chosen on the half which it is not in.
    """

    stage: str
    split: str
    cross_fitted: bool


def choice_split(asked: str | None, inputs: Inputs) -> str:
    """The split that thresholds are chosen on.

    asked: what the config says; null: dev, or val where val has boxes and dev has none. inputs: of a stage that reads
    `images` and `truth`. Where it is not known which splits have boxes, one that has images counts.
    """
    if asked is not None:
        return asked
    (images,) = inputs["images"]
    there = boxed_splits(inputs)
    there = splits_of(images) if there is None else there
    return _ELSE if there is not None and _FIRST not in there and _ELSE in there else _FIRST


def choices_behind(scored: Upstream, inputs: Inputs) -> Iterator[Choice]:
    """The thresholds that the rows of a stage hang on, directly or through what they were made of or trained on.

    inputs: of the stage that scores them. What was chosen on another data set is left out.
    """
    for chosen in ancestors(scored):
        if chosen.recipe.kind == CHOOSES and _of_same_images(chosen.inputs, inputs):
            asked, cross_fit = (chosen.recipe.params.get(name) for name in ("split", "cross_fit"))
            known = chosen.inputs if all(images.shards for images in chosen.inputs["images"]) else inputs
            split = choice_split(None if asked is None else str(asked), known)
            direct = any(chosen.name == read.name for own in _same_boxes(scored) for read in own.inputs.get(_SLOT, ()))
            yield Choice(chosen.name, split, direct and bool(cross_fit))


def _same_boxes(scored: Upstream) -> Iterator[Upstream]:
    """A stage, and those whose boxes its rows are, image by image: nothing was trained on them in between."""
    yield scored
    if scored.recipe.kind == _TAKES:
        yield from scored.inputs.get("labels", ())


def _of_same_images(one: Inputs, other: Inputs) -> bool:
    names = [
        {name for images in inputs["images"] for name in (images.name, *source_names(images))}
        for inputs in (one, other)
    ]
    return bool(names[0] & names[1])
