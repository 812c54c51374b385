"""The split that a threshold was chosen on, as known at planning."""

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
"""The kind of stage that copies boxes of other stages unchanged."""
_FIRST, _ELSE = "dev", "val"


@dataclass(frozen=True)
class Choice:
    """A choice of threshold. stage: the stage that chose it. split: the split of the images it was chosen on.

    cross_fitted: the threshold of each image of that split was chosen on the other half of the split.
    """

    stage: str
    split: str
    cross_fitted: bool


def choice_split(asked: str | None, inputs: Inputs) -> str:
    """The split that thresholds are chosen on.

    asked: what the config says; null: dev, or val where val has boxes and dev has none. inputs: of a stage that reads
    `images` and `truth`. Where it is unknown which splits have boxes, having images is enough.
    """
    if asked is not None:
        return asked
    (images,) = inputs["images"]
    there = boxed_splits(inputs)
    there = splits_of(images) if there is None else there
    return _ELSE if there is not None and _FIRST not in there and _ELSE in there else _FIRST


def choices_behind(scored: Upstream, inputs: Inputs) -> Iterator[Choice]:
    """The threshold choices that a stage's rows depend on, directly or through what they were made from or trained on.

    inputs: of the stage that scores the rows. Choices on another data set are left out.
    """
    for chosen in ancestors(scored):
        if chosen.recipe.kind == CHOOSES and _of_same_images(chosen.inputs, inputs):
            asked, cross_fit = (chosen.recipe.params.get(name) for name in ("split", "cross_fit"))
            known = chosen.inputs if all(images.shards for images in chosen.inputs["images"]) else inputs
            split = choice_split(None if asked is None else str(asked), known)
            direct = any(chosen.name == read.name for own in _same_boxes(scored) for read in own.inputs.get(_SLOT, ()))
            yield Choice(chosen.name, split, direct and bool(cross_fit))


def _same_boxes(scored: Upstream) -> Iterator[Upstream]:
    """A stage, and the stages whose boxes it copies image by image, without a training in between."""
    yield scored
    if scored.recipe.kind == _TAKES:
        yield from scored.inputs.get("labels", ())


def _of_same_images(one: Inputs, other: Inputs) -> bool:
    names = [
        {name for images in inputs["images"] for name in (images.name, *source_names(images))}
        for inputs in (one, other)
    ]
    return bool(names[0] & names[1])
