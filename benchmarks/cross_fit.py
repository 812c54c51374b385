"""GT-known of finished runs over all their boxed images, thresholds cross-fitted: `python -m benchmarks.cross_fit`.

All boxed images of a small set are used: each image's map is cut at the threshold that is best for the other half of
the images (halves by the hash of the id, as in stage `calibrate` with cross_fit), and all images are counted together.
Boxes of a fixed threshold and of predictors need no choice. They are compared with trivial boxes, each at its best size
for all images. Several runs of one config, under different seeds, are averaged image by image; intervals are of the
paired bootstrap over images.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.leaderboard import evaluated, swept, table_of
from jobs.target import Target, open_target
from stages.bases.halves import half_of
from stages.boxes.options import BoxesParams
from stages.scoring import trivial
from stages.scoring.arrow_tables import IMAGE_COLUMNS, TRUTH_COLUMNS, Truth, truth_of, with_truth
from stages.scoring.bootstrap import float_mean_interval
from stages.scoring.cuts.cut_counts import CUT_THRESHOLDS, choose_threshold, count_cuts
from stages.scoring.cuts.fixed_rule import iou_per_threshold
from stages.scoring.iou import best_of
from stages.scoring.ragged import FloatArray
from stages.sweep.options import SweepParams
from stages.vision.score_map_rows import map_arrays
from stages.vision.score_maps import enlarge, min_max

IOU = 0.5
Hits = npt.NDArray[np.float64]
"""Whether each image is right, (N,) in 0 to 1: an average where there are several runs."""


class Boxed(NamedTuple):
    """The boxed images of some splits, by their ids, and the half of each (N,)."""

    truth: Sequence[Truth]
    halves: npt.NDArray[np.int64]

    @property
    def image_ids(self) -> list[str]:
        """All ids, split by split."""
        return [image_id for truth in self.truth for image_id in truth.image_ids]

    def images(self) -> Iterator[tuple[str, FloatArray, tuple[int, int]]]:
        """Each image: its id, its boxes (G, 4), its width and height."""
        for truth in self.truth:
            for place, image_id in enumerate(truth.image_ids):
                width, height = truth.sizes[place]
                yield image_id, truth.boxes.of(place), (int(width), int(height))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cross_fit")
    parser.add_argument("roots", nargs="+", metavar="RUN_ROOT", help="runs of one config, under different seeds")
    parser.add_argument("--splits", nargs="+", default=["val", "test"], help="splits whose images are counted together")
    parser.add_argument("--over", help="maps or boxes that the others are compared with, besides the best trivial box")
    asked = parser.parse_args()
    print("\n".join(lines([open_target(root) for root in asked.roots], asked.splits, asked.over)))


def lines(targets: Sequence[Target], splits: Sequence[str], over: str | None) -> Iterator[str]:
    """The table in Markdown."""
    boxed = boxed_images(targets[0], splits)
    runs = [dict(hits_of_run(target, boxed)) for target in targets]
    found = {name: np.mean([run[name] for run in runs], axis=0) for name in runs[0]}
    known = trivial_hits(boxed)
    best = max(known, key=lambda name: known[name].mean())
    if over is not None and over not in found:
        raise SystemExit(f"{over!r} is none of {', '.join(found)}")
    yield f"{len(boxed.image_ids)} images of {', '.join(splits)}, {len(targets)} runs, IoU {IOU}"
    yield ""
    yield f"| | GT-known | over {best} |{f' over {over} |' if over else ''}"
    yield "|---" * (4 if over else 3) + "|"
    for name, hits in {**known, **found}.items():
        against = _gain(hits, known[best]) if name != best else ""
        last = [_gain(hits, found[over]) if name in found and name != over else ""] if over else []
        yield f"| {' | '.join([name, _share(hits), against, *last])} |"


def boxed_images(target: Target, splits: Sequence[str]) -> Boxed:
    """The images of the splits with ground-truth boxes."""
    params = evaluated(target)
    images = table_of(target, params.images, "images", IMAGE_COLUMNS)
    with_boxes = with_truth(images, table_of(target, params.truth, "truth", TRUTH_COLUMNS))
    truth = [truth_of(with_boxes, split) for split in splits]
    return Boxed(truth, np.array([half_of(image_id) for each in truth for image_id in each.image_ids]))


def hits_of_run(target: Target, boxed: Boxed) -> Iterator[tuple[str, Hits]]:
    """Whether each image is right: by the maps of each sweep, by boxes of fixed thresholds, by predicted boxes."""
    params = evaluated(target)
    for name in params.counts:
        counted = swept(target, name)
        yield counted.maps, cross_fitted(ious_of_maps(target, counted, boxed), boxed.halves)
    for name in params.labels:
        of_labels = target.stages[name].params
        if isinstance(of_labels, BoxesParams) and of_labels.threshold is not None:
            yield name, boxes_right(table_of(target, name, "pseudo_labels", ("image_id", "boxes")), boxed)
    for name in params.predictions:
        yield name, boxes_right(table_of(target, name, "predictions", ("image_id", "boxes")), boxed)


def ious_of_maps(target: Target, counted: SweepParams, boxed: Boxed) -> FloatArray:
    """Best IoU of each image at each threshold, (N, 255)."""
    wanted = pc.field("image_id").isin(pa.array(boxed.image_ids, pa.string()))
    table = table_of(target, counted.maps, "score_maps", ("image_id", "height", "width", "map"), wanted)
    by_id = dict(zip(table.column("image_id").to_pylist(), map_arrays(table), strict=True))
    rule, found = counted.rule(), []
    for image_id, truth, (width, height) in boxed.images():
        enlarged = min_max(enlarge(by_id[image_id], height, width, rule.enlargement))
        found.append(iou_per_threshold(enlarged, truth, rule))
    return np.stack(found)


def cross_fitted(ious: FloatArray, halves: npt.NDArray[np.int64]) -> Hits:
    """Whether each image (N,) is right at the threshold that is best for the other half; ious: (N, thresholds)."""
    hits = np.zeros(len(ious))
    for half in np.unique(halves):
        chosen = choose_threshold(count_cuts(ious[halves != half]), CUT_THRESHOLDS, IOU)
        hits[halves == half] = ious[halves == half, chosen.position] >= IOU
    return hits


def boxes_right(table: pa.Table, boxed: Boxed) -> Hits:
    """Whether any box of each image (N,) is right; 0 for an image without one."""
    by_id: Mapping[str, list[dict[str, float]]] = dict(
        zip(table.column("image_id").to_pylist(), table.column("boxes").to_pylist(), strict=True)
    )
    hits = []
    for image_id, truth, _ in boxed.images():
        boxes = [[box[corner] for corner in ("x0", "y0", "x1", "y1")] for box in by_id.get(image_id) or ()]
        hits.append(max((float(best_of(np.array([box]), truth)[0]) for box in boxes), default=0.0) >= IOU)
    return np.array(hits, np.float64)


def trivial_hits(boxed: Boxed) -> dict[str, Hits]:
    """Whether each image (N,) is right by boxes that ignore the image, each at its best parameter."""
    images = list(boxed.images())
    frames = np.array([[0, 0, width, height] for _, _, (width, height) in images], np.float64)
    candidates = {
        "whole_image": [trivial.whole_frame(frames)],
        "centred_square": [trivial.centred_square(frames, share) for share in trivial.SQUARE_SHARES],
        "centred_gaussian": [trivial.centred_gaussian(frames, cut) for cut in range(255)],
    }
    found: dict[str, Hits] = {}
    for name, all_boxes in candidates.items():
        right = np.stack(
            [
                [best_of(box[None], truth)[0] >= IOU for box, (_, truth, _) in zip(boxes, images, strict=True)]
                for boxes in all_boxes
            ]
        )
        found[name] = right[int(right.mean(axis=1).argmax())].astype(np.float64)
    return found


def _share(hits: Hits) -> str:
    error = 100 * float(hits.std(ddof=1)) / len(hits) ** 0.5
    return f"{100 * hits.mean():.1f} ± {error:.1f}"


def _gain(hits: Hits, over: Hits) -> str:
    gained = float_mean_interval(hits - over, seed=0)
    return f"{gained.value:+.1f} ({gained.low:+.1f} to {gained.high:+.1f})"


if __name__ == "__main__":
    main()
