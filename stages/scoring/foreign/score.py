"""Scores foreign boxes or score maps: the rows of the metrics table, trivial predictors among them."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.scoring.cuts.cut_counts import CutCounts
from stages.scoring.foreign.errors import ForeignInputError
from stages.scoring.foreign.map_folder import MapFolder
from stages.scoring.foreign.mask_folder import MaskFolder
from stages.scoring.foreign.metadata_folder import MetadataFolder
from stages.scoring.foreign.swept import SweptImage, applied, in_frame, sweep_image, thresholds
from stages.scoring.metric_rows import (
    MetricRow,
    Subject,
    best_threshold,
    box_rows,
    classifier_rows,
    frame_rows,
    max_box_acc_rows,
    swept_rows,
    trivial_rows,
)
from stages.scoring.protocols import PROTOCOLS
from stages.scoring.ragged import FloatArray, IntArray
from stages.scoring.tally import Merged, Tally, merge

Progress = Callable[[int], None]

CHUNK = 64


@dataclass(frozen=True)
class Foreign:
    """A method to score: its ground truth, name and protocol, and its ranked classes (N, 5) int64, if any."""

    metadata: MetadataFolder
    method: str
    protocol: str
    ranked: IntArray | None = None
    threads: int = 1

    def common_rows(self) -> Iterator[MetricRow]:
        """cls_top1 and cls_top5, where there are classes, and the trivial predictors."""
        truth = self.metadata.truth
        if self.ranked is not None:
            yield from classifier_rows(Subject(self.method, None), truth.labels, self.ranked)
        if self.metadata.boxed:
            yield from trivial_rows(truth, None, (self.protocol,))


def score_boxes(foreign: Foreign, boxes: FloatArray) -> list[MetricRow]:
    """Metric rows of boxes (N, 4), one an image, original pixels. Raises ForeignInputError for metadata of masks."""
    _need_boxes(foreign.metadata)
    own = box_rows(Subject(foreign.method, None), foreign.metadata.truth, boxes, foreign.ranked, foreign.protocol)
    return [*own, *foreign.common_rows()]


def score_maps(
    foreign: Foreign, maps: MapFolder, masks: Path | None, threshold: float | None, progress: Progress
) -> list[MetricRow]:
    """Metric rows of score maps: boxes over all thresholds, and pixel metrics where there are masks.

    Boxes of gt_known, top1_loc and so on are those of the best threshold at IoU 0.5 (`oracle`), or of `threshold`
    (`fixed`). progress: called with the number of images just scored. Raises ForeignInputError before anything
    is computed for a file that is missing, of a wrong dtype or of a wrong shape.
    """
    metadata = foreign.metadata
    if masks is None:
        _need_boxes(metadata)
    maps.check(metadata.truth.image_ids, metadata.truth.sizes)
    pixels = None if masks is None else MaskFolder.of(masks, metadata)
    swept = _Swept(foreign)

    def one(index: int) -> tuple[SweptImage | None, list[Tally]]:
        score_map = maps.read(metadata.truth.image_ids[index])
        return swept.image(score_map, index), [] if pixels is None else list(pixels.tallies(index, score_map))

    tallies: Merged = {}
    with ThreadPoolExecutor(foreign.threads) as pool:
        for start in range(0, len(metadata.truth.image_ids), CHUNK):
            part = range(start, min(start + CHUNK, len(metadata.truth.image_ids)))
            for image, counted in pool.map(one, part):
                swept.add(image)
                tallies = merge([*tallies.values(), *counted])
            progress(len(part))
    own = [*swept.rows(threshold), *swept_rows(Subject(foreign.method, None), tallies, 0)]
    return [*own, *foreign.common_rows()]


class _Swept:
    """Collects the swept images of a run over all maps; without ground-truth boxes there is nothing to collect."""

    def __init__(self, foreign: Foreign) -> None:
        self._foreign = foreign
        truth, adapter = foreign.metadata.truth, PROTOCOLS[foreign.protocol]
        self._frame_truth = adapter.ground_truth(truth.boxes, truth.sizes)
        self._boxes: list[np.ndarray] = []
        self._maxima: list[int] = []
        self._largest: CutCounts | None = None
        self._every: CutCounts | None = None

    def image(self, score_map: FloatArray, index: int) -> SweptImage | None:
        """Sweep one image; safe to call from several threads."""
        if not self._foreign.metadata.boxed:
            return None
        size = self._foreign.metadata.truth.sizes[index]
        return sweep_image(score_map, self._frame_truth.of_images(index, index + 1), size, self._foreign.protocol)

    def add(self, image: SweptImage | None) -> None:
        """Keep what `rows` needs; images come in order."""
        if image is None:
            return
        self._boxes.append(image.boxes)
        self._maxima.append(image.maximum)
        self._largest = image.largest if self._largest is None else self._largest + image.largest
        if image.every is not None:
            self._every = image.every if self._every is None else self._every + image.every

    def rows(self, threshold: float | None) -> Iterator[MetricRow]:
        """MaxBoxAcc, MaxBoxAccV2, and the metrics of the boxes at one threshold."""
        if self._largest is None:
            return
        foreign, tried = self._foreign, thresholds(self._foreign.protocol)
        nameless = Subject(foreign.method, None)
        yield from max_box_acc_rows(nameless, self._largest, self._every, tried, foreign.protocol)
        chosen, choice = float(tried[best_threshold(self._largest)]), "oracle"
        if threshold is not None:
            chosen, choice = applied(threshold, foreign.protocol), "fixed"
        cuts = [int(chosen * maximum) for maximum in self._maxima]
        boxes = np.stack([own[cut] for own, cut in zip(self._boxes, cuts, strict=True)])
        truth = foreign.metadata.truth
        subject = Subject(foreign.method, None, chosen, choice)
        frame_boxes = in_frame(boxes, truth.sizes, foreign.protocol)
        yield from frame_rows(subject, truth, frame_boxes, foreign.ranked, foreign.protocol)


def _need_boxes(metadata: MetadataFolder) -> None:
    if not metadata.boxed:
        raise ForeignInputError(
            f"metadata {metadata.dataset}/{metadata.split} lists masks, not boxes: give score maps and --masks"
        )
