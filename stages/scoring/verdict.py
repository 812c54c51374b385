"""Checks whether boxes carry any information, most of them without ground truth: each gives a number and a sentence.

Bad are: a classifier no better than the majority class, sources that agree no more than boxes of different images do,
boxes that are the same in every image, and boxes that are the whole image in most images.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from stages.scoring.bootstrap import paired_difference
from stages.scoring.iou import aligned_iou
from stages.scoring.ragged import BoolArray, FloatArray

__all__ = [
    "LEVELS",
    "Level",
    "Overall",
    "Verdict",
    "of_agreement",
    "of_classes",
    "of_classifier",
    "of_dependence",
    "of_pictures",
    "of_trivial",
    "of_whole_images",
    "overall",
]

Level = Literal["good", "look", "bad"]
LEVELS: tuple[Level, ...] = ("good", "look", "bad")
"""From best to worst."""

WHOLE = 0.98
"""A box that covers at least this share of the image counts as the whole image."""

_MANY, _SOME = 0.5, 0.2
_SAME = 0.9
_FEW = 10
_TRIVIAL = "over_trivial"
_NO_GAIN = 0.05
"""Gain of mean IoU over chance: sources that gain less with certainty do not agree."""
_DEVIATIONS = 2.0
"""Standard errors by which a number must exceed chance."""


class Verdict(NamedTuple):
    """The result of one check. source: stage of the boxes; None: the data. value: percent, of n images or classes."""

    check: str
    source: str | None
    level: Level
    value: float
    n: int
    said: str


class Overall(NamedTuple):
    """The verdict of all checks together."""

    level: Level
    said: str


def overall(verdicts: Sequence[Verdict]) -> Overall:
    """The overall verdict: bad (not usable) if the data or all sources are bad, else good or look.

    A source that is no better than a trivial predictor does not count against the whole if another source is better:
    the qualities, which are fitted to true boxes, avoid it.
    """
    beaten = [each for each in verdicts if each.check == _TRIVIAL and each.level != "good"]
    if not any(each.check == _TRIVIAL and each.level == "good" for each in verdicts):
        beaten = []
    others = [each for each in verdicts if each not in beaten]
    sources = {each.source for each in verdicts if each.source is not None}
    bad = [each for each in others if each.level == "bad"]
    condemned = {each.source for each in bad}
    reasons = _joined(bad)
    if None in condemned or (sources and sources <= condemned):
        return Overall("bad", f"not usable: {reasons}")
    if bad:
        return Overall("look", f"leave out {', '.join(sorted(filter(None, condemned)))}: {reasons}")
    if look := [each for each in others if each.level == "look"]:
        return Overall("look", f"look at it: {_joined(look)}")
    return Overall("good", f"good; {_joined(beaten)}" if beaten else "good")


def _joined(verdicts: Sequence[Verdict]) -> str:
    """Their sentences, each once: the check of agreement gives two sources the same sentence."""
    return "; ".join(dict.fromkeys(each.said for each in verdicts))


def of_classes(train: Mapping[str, int], held_out: Mapping[str, int], by_classes: Sequence[str]) -> Iterator[Verdict]:
    """Check for classes that cannot be learned. train, held_out: class -> number of images.

    by_classes: sources whose boxes come from a network that was trained on the classes of this data set.
    """
    names = sorted({*train, *held_out})
    if len(names) == 1:
        yield Verdict("classes", None, "good", 100.0, 1, "one class only: no source can tell classes apart")
        for source in by_classes:
            said = f"{source} needs several classes, and there is only one: use DDT or NCut on published features"
            yield Verdict("classes", source, "bad", 100.0, 1, said)
    single = [name for name in names if train.get(name) == 1]
    if single:
        said = f"{len(single)} of {len(names)} classes have one training image, such as {single[0]!r}"
        yield Verdict("single_images", None, _share_level(len(single) / len(names)), *_share(single, names), said)
    absent = [name for name in names if name not in train]
    if absent and train:
        said = f"{len(absent)} of {len(names)} classes have no training image, such as {absent[0]!r}"
        yield Verdict("untrained_classes", None, _share_level(len(absent) / len(names)), *_share(absent, names), said)


def of_classifier(right: BoolArray, majority: float) -> Iterator[Verdict]:
    """Check that a classifier beats the majority class. right: ``(N,)`` bool. majority: share of the largest class."""
    images = len(right)
    if images < _FEW or majority == 1:
        return
    share = float(right.mean())
    chance = majority + _DEVIATIONS * float(np.sqrt(majority * (1 - majority) / images))
    said = (
        f"of {images} images {100 * share:.0f} % are classified right, {100 * majority:.0f} % are of the largest class"
    )
    bad = share <= chance
    yield Verdict(
        "classifier",
        None,
        "bad" if bad else "good",
        100 * share,
        images,
        f"the classifier is no better than always naming the largest class: {said}" if bad else said,
    )


def of_whole_images(source: str, area: FloatArray, flagged: BoolArray) -> Iterator[Verdict]:
    """Share of boxes that are the whole image or a fallback. area: ``(N,)``, share of the image. flagged: ``(N,)``."""
    if not len(area):
        return
    whole = (area >= WHOLE) | flagged
    share = float(whole.mean())
    said = f"{100 * share:.0f} % of {len(area)} boxes of {source} are the whole image or empty"
    yield Verdict("whole_images", source, _share_level(share), 100 * share, len(area), said)


def of_dependence(source: str, boxes: FloatArray) -> Iterator[Verdict]:
    """Check that boxes depend on the image: mean IoU of boxes of different images. boxes: ``(N, 4)`` in [0, 1]."""
    if len(boxes) < _FEW:
        return
    same = float(aligned_iou(boxes, _of_others(boxes)).mean())
    said = f"boxes of {source} in different images have a mean IoU of {same:.2f}"
    bad = same > _SAME
    yield Verdict(
        "same_boxes",
        source,
        "bad" if bad else "good",
        100 * same,
        len(boxes),
        f"{said}: they do not depend on the image" if bad else said,
    )


def of_agreement(source: str, own: FloatArray, others: Mapping[str, FloatArray]) -> Iterator[Verdict]:
    """Check that a source agrees with another one better than chance, which is measured on boxes of different images.

    Bad if the gain over chance is certainly below 0.05 of mean IoU; look if a gain is not certain.

    own: ``(N, 4)`` in [0, 1], NaN for an image without a box. others: the same of each other source.
    """
    best: _Agreement | None = None
    for name, boxes in others.items():
        both = ~(np.isnan(own).any(axis=1) | np.isnan(boxes).any(axis=1))
        if both.sum() >= _FEW:
            found = _agreement(name, own[both], boxes[both])
            best = found if best is None or found.gain > best.gain else best
    if best is None:
        return
    level: Level = "bad" if best.most < _NO_GAIN else "look" if best.least <= 0 else "good"
    said = f"{' and '.join(sorted((source, best.name)))} agree by a mean IoU of {best.mean:.2f}"
    words = {
        "good": said,
        "look": f"{said}, perhaps no more than with boxes of other images",
        "bad": f"{said}, no more than with boxes of other images: one of them carries no information",
    }
    yield Verdict("agreement", source, level, 100 * best.mean, best.images, words[level])


class _Agreement(NamedTuple):
    """How a source agrees with another. gain: of mean IoU over chance; least, most: bounds of the gain."""

    name: str
    mean: float
    gain: float
    least: float
    most: float
    images: int


def _agreement(name: str, own: FloatArray, other: FloatArray) -> _Agreement:
    paired = aligned_iou(own, other)
    gains = paired - aligned_iou(own, _of_others(other))
    gain, error = float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(len(gains)))
    bounds = gain - _DEVIATIONS * error, gain + _DEVIATIONS * error
    return _Agreement(name, float(paired.mean()), gain, *bounds, len(own))


def of_trivial(source: str, right: BoolArray, name: str, trivial: BoolArray, least: int) -> Iterator[Verdict]:
    """Check that boxes beat the best trivial predictor. right, trivial: ``(N,)`` bool, correct at IoU 0.5.

    least: with fewer images there is no check.
    """
    if len(right) < least:
        return
    found = paired_difference(right, trivial, 0)
    value = 100 * float(right.mean())
    said = (
        f"{value:.0f} % of {len(right)} boxes of {source} are right, {found.value:+.0f} ({found.low:.0f} to"
        f" {found.high:.0f}) to {name}"
    )
    level: Level = "bad" if found.high < 0 else "look" if found.value < 0 else "good"
    yield Verdict(_TRIVIAL, source, level, value, len(right), said)


def of_pictures(images: int, equal: int, looked_at: int, constant: int) -> Iterator[Verdict]:
    """Check for pictures without information. equal: number of images whose picture repeats another one.

    looked_at: number of pictures that were opened, a sample. constant: number of these that are of one colour.
    """
    if images and equal:
        said = f"{equal} of {images} pictures are equal to another"
        yield Verdict("equal_pictures", None, _share_level(equal / images), 100 * equal / images, images, said)
    if looked_at and constant:
        share = constant / looked_at
        said = f"{constant} of {looked_at} pictures that were looked at are of one colour"
        yield Verdict("constant_pictures", None, _share_level(share), 100 * share, looked_at, said)


def _share_level(share: float) -> Level:
    return "bad" if share > _MANY else "look" if share > _SOME else "good"


def _share(some: Sequence[str], of: Sequence[str]) -> tuple[float, int]:
    return 100 * len(some) / len(of), len(of)


def _of_others(boxes: FloatArray) -> FloatArray:
    """For each image the box of another image, by a fixed permutation."""
    order = np.random.default_rng(0).permutation(len(boxes))
    others = np.empty_like(boxes)
    others[order] = boxes[np.roll(order, 1)]
    return others
