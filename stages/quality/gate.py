"""The checks of one run: their inputs, and the flags of rows that carry no information."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.quality.candidates import Candidates
from stages.scoring import verdict
from stages.scoring.arrow_tables import Truth
from stages.scoring.iou import best_iou
from stages.scoring.metric_rows import best_trivial
from stages.scoring.metrics import GT_KNOWN_IOU
from stages.scoring.ragged import BoolArray, FloatArray
from stages.scoring.verdict import WHOLE, Verdict

__all__ = ["NO_INFORMATION", "ONE_IMAGE", "UNTRAINED", "WHOLE_IMAGE", "Looks", "checks", "flags"]

NO_INFORMATION, WHOLE_IMAGE = "no_information", "whole_image"
ONE_IMAGE, UNTRAINED = "one_image_class", "untrained_class"
"""Flags of rows: no information in the source; whole image, like most boxes of the source; class cannot be learned."""

_TRAIN = "train"


class Looks(NamedTuple):
    """Inputs of the checks besides the boxes.

    images: table with image_id, label_name, split and content_hash. by_classes: sources whose boxes come from a network
    that was trained on the classes of this data set. predicted: image id -> the classifier's top-1 class.
    constant: ``(K,)``, whether each of a sample of K pictures is of one colour. truth: of the split that qualities are
    fitted to. least: with fewer images in `truth`, boxes are not compared with trivial predictors.
    """

    images: pa.Table
    by_classes: Sequence[str]
    predicted: Mapping[str, int]
    constant: BoolArray
    truth: Truth
    least: int


def checks(found: Candidates, looks: Looks) -> Iterator[Verdict]:
    """All checks, those of the data first."""
    train, held_out = _by_class(looks.images, _TRAIN, pc.equal), _by_class(looks.images, _TRAIN, pc.not_equal)
    hashes = looks.images.column("content_hash").drop_null()
    yield from verdict.of_pictures(
        len(hashes), len(hashes) - len(hashes.unique()), len(looks.constant), int(looks.constant.sum())
    )
    yield from verdict.of_classes(train, held_out, looks.by_classes)
    yield from _of_classifier(found, looks)
    boxes = {source: _unit(own.boxes, found.sizes) for source, own in found.found.items()}
    for source, unit in boxes.items():
        here = ~np.isnan(unit).any(axis=1)
        share = np.prod(unit[here, 2:] - unit[here, :2], axis=1)
        flagged = found.flags[source].is_valid().to_numpy()[here]
        yield from verdict.of_whole_images(source, share, flagged)
        yield from verdict.of_dependence(source, unit[here])
        yield from verdict.of_agreement(source, unit, {name: own for name, own in boxes.items() if name != source})
        yield from _of_trivial(source, found, looks)


def flags(found: Candidates, source: str, verdicts: Sequence[Verdict], looks: Looks, *, has_truth: bool) -> pa.Array:
    """Flags ``(N,)`` of a source's rows that carry no information, null for others; a row's own flag is kept.

    has_truth: whether qualities are known; then low agreement of two sources flags neither of them.
    """
    bad = {(each.check, each.source) for each in verdicts if each.level == "bad"}
    rows = found.images.num_rows
    reasons = np.full(rows, None, dtype=object)
    untrained, single = _unlearnt(looks.images)
    names = _class_names(found, looks.images)
    reasons[np.isin(names, list(single))] = ONE_IMAGE
    reasons[np.isin(names, list(untrained))] = UNTRAINED
    if ("whole_images", source) in bad:
        share = np.prod(
            np.diff(_unit(found.found[source].boxes, found.sizes).reshape(rows, 2, 2), axis=1)[:, 0], axis=1
        )
        reasons[share >= WHOLE] = WHOLE_IMAGE
    of_source = {check for check, name in bad if name == source} - ({"agreement"} if has_truth else set())
    if {check for check, name in bad if name is None} & {"constant_pictures", "equal_pictures"}:
        reasons[:] = NO_INFORMATION
    if of_source & {"same_boxes", "classes", "agreement"} or (
        ("classifier", None) in bad and source in looks.by_classes
    ):
        reasons[:] = NO_INFORMATION
    return pc.coalesce(found.flags[source].combine_chunks(), pa.array(reasons, pa.string()))


def _of_classifier(found: Candidates, looks: Looks) -> Iterator[Verdict]:
    """Check the classifier on held-out images, or on all where there are none."""
    split, labels = np.array(found.images.column("split").to_pylist()), found.labels
    ids = found.images.column("image_id").to_pylist()
    known = np.array([image_id in looks.predicted for image_id in ids], dtype=bool)
    chosen = known & (split != _TRAIN) if (known & (split != _TRAIN)).any() else known
    if chosen.any():
        named = np.array([looks.predicted[ids[place]] for place in np.flatnonzero(chosen)])
        majority = Counter(labels[chosen].tolist()).most_common(1)[0][1] / int(chosen.sum())
        yield from verdict.of_classifier(named == labels[chosen], majority)


def _of_trivial(source: str, found: Candidates, looks: Looks) -> Iterator[Verdict]:
    truth = looks.truth
    if not truth.image_ids:
        return
    place = pc.index_in(pa.array(truth.image_ids, pa.string()), found.images.column("image_id").combine_chunks())
    boxes = np.nan_to_num(found.found[source].boxes[pc.fill_null(place, 0).to_numpy()])
    boxes[place.is_null().to_numpy(zero_copy_only=False)] = 0.0
    right = best_iou(boxes, truth.boxes) >= GT_KNOWN_IOU
    name, best = max(best_trivial(truth, None, "original"), key=lambda own: own[1][GT_KNOWN_IOU].value)
    yield from verdict.of_trivial(source, right, name, best[GT_KNOWN_IOU].correct, looks.least)


def _by_class(
    images: pa.Table, split: str, compare: Callable[[pa.ChunkedArray, str], pa.ChunkedArray]
) -> dict[str, int]:
    counts = images.filter(compare(images.column("split"), split)).column("label_name").value_counts().to_pylist()
    return {each["values"]: each["counts"] for each in counts}


def _unlearnt(images: pa.Table) -> tuple[set[str], set[str]]:
    """Classes without a training image (none if no class has one), and classes with exactly one."""
    train, held_out = _by_class(images, _TRAIN, pc.equal), _by_class(images, _TRAIN, pc.not_equal)
    return set(held_out) - set(train) if train else set(), {name for name, count in train.items() if count == 1}


def _class_names(found: Candidates, images: pa.Table) -> np.ndarray:
    place = pc.index_in(found.images.column("image_id"), images.column("image_id"))
    return np.array(images.column("label_name").take(place).to_pylist(), dtype=object)


def _unit(boxes: FloatArray, sizes: FloatArray) -> FloatArray:
    """Boxes ``(N, 4)`` in pixels as fractions of their image, in [0, 1]."""
    return boxes / np.concatenate([sizes, sizes], axis=1)
