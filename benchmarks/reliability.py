"""How far qualities can be trusted: `python -m benchmarks.reliability RUN_ROOT`.

The run has two stages `quality` of the same boxes, fitted to val and to test: each is tested on the other split, and
the images of both are counted together. Beside it the same model, fitted to all classes but one and tested on that one,
and fitted to thirty random images and tested on all others (the mean of forty draws). A box is right at IoU 0.5.
"""

import argparse
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.leaderboard import table_of
from jobs.target import Target, open_target
from stages.quality.fit import design, fit, reliability
from stages.quality.signals import SIGNALS
from stages.scoring.arrow_tables import corners
from stages.scoring.bootstrap import paired_difference
from stages.scoring.iou import best_of
from stages.scoring.metrics import GT_KNOWN_IOU
from stages.scoring.ragged import BoolArray, FloatArray

DRAWS, FEW = 40, 30
_COLUMNS = ("image_id", "label", "split", "source", *SIGNALS, "quality")


class Boxed(NamedTuple):
    """The boxes of S sources in N boxed images. signals: S of ``(N, K)``; right, crossed: ``(S, N)``; label: ``(N,)``.

    crossed: the quality that the model fitted to the other split gives. first: images of the first split ``(N,)``.
    """

    sources: Sequence[str]
    signals: Sequence[FloatArray]
    right: BoolArray
    crossed: FloatArray
    label: FloatArray
    first: BoolArray


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability")
    parser.add_argument("root", metavar="RUN_ROOT")
    parser.add_argument("--fitted", nargs=2, default=["quality_val", "quality_test"], metavar="STAGE")
    asked = parser.parse_args()
    print("\n".join(lines(boxed(open_target(asked.root), asked.fitted))))


def boxed(target: Target, fitted: Sequence[str]) -> Boxed:
    """The boxed images of the splits that two quality stages are fitted to, each judged by the other's model."""
    truth = {
        row["image_id"]: np.array([corners(box) for box in row["boxes"]])
        for row in table_of(target, "truth", "truth", ("image_id", "boxes")).to_pylist()
        if row["boxes"]
    }
    splits = [table_of(target, stage, "quality_fits", ("split",)).to_pylist()[0]["split"] for stage in fitted]
    rows = {
        (row["image_id"], row["source"]): row
        for split, stage in zip(splits, reversed(fitted), strict=True)
        for row in table_of(target, stage, "qualities", _COLUMNS).to_pylist()
        if row["split"] == split and row["image_id"] in truth
    }
    sources = sorted({source for _, source in rows})
    images = sorted(image_id for image_id in {own for own, _ in rows} if all((image_id, s) in rows for s in sources))
    right, crossed, signals = [], [], []
    for source in sources:
        labels = table_of(target, source, "pseudo_labels", ("image_id", "boxes")).to_pylist()
        boxes = {row["image_id"]: corners(row["boxes"][0]) for row in labels if row["boxes"]}
        own = [rows[image_id, source] for image_id in images]
        right.append([best_of(np.array([boxes[name]]), truth[name])[0] >= GT_KNOWN_IOU for name in images])
        crossed.append([row["quality"] for row in own])
        signals.append([np.array([row[name] for row in own], dtype=np.float64) for name in SIGNALS])
    of_first = [rows[image_id, sources[0]] for image_id in images]
    return Boxed(
        sources,
        design(signals),
        np.array(right),
        np.array(crossed, dtype=np.float64),
        np.array([row["label"] for row in of_first]),
        np.array([row["split"] == splits[0] for row in of_first]),
    )


def lines(found: Boxed) -> Iterator[str]:
    """The tables in Markdown."""
    yield f"{found.right.shape[1]} images, each judged by a model fitted to the other split"
    yield ""
    yield "| source | right | AUC | better half, worse half | a class left out | thirty images |"
    yield "|---|---|---|---|---|---|"
    unseen, few = _class_left_out(found), _thirty(found)
    for place, source in enumerate(found.sources):
        own = reliability(found.crossed[place], found.right[place])
        left_out = reliability(unseen[place], found.right[place]).auc
        yield (
            f"| {source} | {own.right:.1f} | {own.auc:.3f} ± {own.auc_error:.3f} | {own.better:.0f}, {own.worse:.0f} |"
            f" {left_out:.3f} | {few[place]:.3f} |"
        )
    yield ""
    yield from _consensus(found)


def _consensus(found: Boxed) -> Iterator[str]:
    """The source of the highest quality, against the one that is best where the model was fitted."""
    images = np.arange(found.right.shape[1])
    taken = found.right[found.crossed.argmax(axis=0), images]
    fixed = np.empty(len(images), bool)
    for half in (found.first, ~found.first):
        fixed[half] = found.right[found.right[:, ~half].mean(axis=1).argmax()][half]
    yield f"consensus by quality: {100 * taken.mean():.1f}"
    rivals = {"the source that is best on the fitting split": fixed} | dict(
        zip(found.sources, found.right, strict=True)
    )
    for name, own in rivals.items():
        gain = paired_difference(taken, own, 0)
        yield f"over {name} ({100 * own.mean():.1f}): {gain.value:+.1f} ({gain.low:+.1f} to {gain.high:+.1f})"


def _class_left_out(found: Boxed) -> FloatArray:
    """Qualities ``(S, N)``, each by a model of the other classes."""
    quality = np.full(found.right.shape, np.nan)
    for label in np.unique(found.label):
        own = found.label == label
        _predict(found, ~own, own, quality)
    return quality


def _thirty(found: Boxed) -> FloatArray:
    """Mean AUC ``(S,)`` of models that are fitted to thirty images each, on all others."""
    random, reached = np.random.default_rng(0), []
    for _ in range(DRAWS):
        order, quality = random.permutation(found.right.shape[1]), np.full(found.right.shape, np.nan)
        few, rest = np.isin(np.arange(len(order)), order[:FEW]), np.isin(np.arange(len(order)), order[FEW:])
        _predict(found, few, rest, quality)
        reached.append(
            [reliability(own[rest], right[rest]).auc for own, right in zip(quality, found.right, strict=True)]
        )
    return np.mean(reached, axis=0)


def _predict(found: Boxed, on: BoolArray, of: BoolArray, quality: FloatArray) -> None:
    """Write the qualities of some images by a model that is fitted to others."""
    model = fit(np.concatenate([own[on] for own in found.signals]), np.concatenate([own[on] for own in found.right]))
    if model is None:
        raise SystemExit("the boxes that the model would be fitted to are all right, or all wrong")
    for place, own in enumerate(found.signals):
        quality[place, of] = model.predict_proba(own[of])[:, 1]


if __name__ == "__main__":
    main()
