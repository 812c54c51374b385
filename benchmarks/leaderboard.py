"""A leaderboard in Markdown from finished runs, one a seed: `python -m benchmarks.leaderboard RUN_ROOT [RUN_ROOT ...]`.

The values are the runs' own metrics, averaged over the runs. Added is a paired bootstrap of MaxBoxAcc over images: each
source of maps, at its own best threshold, against the maps of stage `cam`, or of the stage that `--over` names; an
image is drawn with its results in all runs. Choices may be made by the table of `dev`, where the config evaluates it.
"""

import argparse
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.results import metric_rows
from jobs.target import Target, open_target
from stages.evaluate.options import EvaluateParams
from stages.scoring.arrow_tables import IMAGE_COLUMNS, TRUTH_COLUMNS, truth_of, with_truth
from stages.scoring.bootstrap import float_mean_interval
from stages.scoring.cuts.cut_counts import count_cuts
from stages.scoring.cuts.quantized import quantize
from stages.scoring.cuts.sweep import sweep
from stages.scoring.evaluator_maps import evaluator_score_map
from stages.scoring.protocols import PROTOCOLS
from stages.sweep.options import SweepParams
from stages.vision.score_map_rows import map_arrays

IOU = 0.5
_SHOWN = ("max_box_acc", "max_box_acc_v2", "gt_known", "top1_loc", "mask_iou")
_MAP_COLUMNS = ("image_id", "split", "height", "width", "map")
Correct = np.ndarray


@dataclass
class Entry:
    """One line: values of each metric, run by run, and the vectors whose mean is MaxBoxAcc."""

    values: dict[str, list[float]] = field(default_factory=dict)
    correct: list[Correct] = field(default_factory=list)


def main() -> None:
    """Print a table for each split that the runs evaluated."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.leaderboard")
    parser.add_argument("roots", nargs="+", metavar="RUN_ROOT", help="runs of one config, under different seeds")
    parser.add_argument("--over", default="cam", help="stage of the maps that the others are compared with")
    asked = parser.parse_args()
    targets = [open_target(root) for root in asked.roots]
    for split in evaluated(targets[0]).splits:
        board = leaderboard(targets, split)
        if any(entry.values for entry in board.values()):
            print(f"\n{split}, {len(targets)} runs\n")
            print("\n".join(lines(board, asked.over)))


def leaderboard(targets: Sequence[Target], split: str) -> dict[str, Entry]:
    """Entries by source of boxes, in the order of the first config; trivial predictors under their own names."""
    board: dict[str, Entry] = {}
    for target in targets:
        sweeps = [swept(target, name) for name in evaluated(target).counts]
        maps = {counted.maps for counted in sweeps}
        behind = {name: getattr(stage.params, "maps", name) for name, stage in target.stages.items()}
        rows: list[dict[str, Any]] = metric_rows(target)
        for row in rows:
            if row["split"] != split or row["metric"] not in _SHOWN or row["value"] is None:
                continue
            if row["iou"] not in (None, IOU) or row["protocol"] not in (None, "original", "wsolevaluation"):
                continue
            source = row["source"] or row["method"]
            name = source if source in maps else behind.get(source, source)
            board.setdefault(name, Entry()).values.setdefault(row["metric"], []).append(row["value"])
        for counted in sweeps:
            correct = correct_at_best(target, counted, split)
            board.setdefault(counted.maps, Entry()).correct.append(correct)
    return board


def correct_at_best(target: Target, counted: SweepParams, split: str) -> Correct:
    """Whether each image of the split, by id, is right at IoU 0.5 under the threshold best for all, (N,) bool."""
    images = table_of(target, counted.images, "images", IMAGE_COLUMNS)
    truth = truth_of(with_truth(images, table_of(target, counted.truth, "truth", TRUTH_COLUMNS)), split)
    table = table_of(target, counted.maps, "score_maps", _MAP_COLUMNS, pc.field("split") == split)
    by_id = dict(zip(table.column("image_id").to_pylist(), map_arrays(table), strict=True))
    found = [by_id[image_id] for image_id in truth.image_ids]
    pixels = np.stack([quantize(evaluator_score_map(score_map)) for score_map in found])
    frame = PROTOCOLS["wsolevaluation"].ground_truth(truth.boxes, truth.sizes)
    best = sweep(pixels, frame, ("largest",))["largest"]
    cut = int(np.argmax(count_cuts(best, (IOU,)).hits[0]))
    return np.asarray(best[:, cut] >= IOU)


def evaluated(target: Target) -> EvaluateParams:
    """The parameters of a run's evaluation."""
    params = target.stages["evaluate"].params
    assert isinstance(params, EvaluateParams), "the name of the stage is that of its kind"
    return params


def swept(target: Target, name: str) -> SweepParams:
    """The parameters of a run's sweep."""
    params = target.stages[name].params
    assert isinstance(params, SweepParams), "evaluate reads counts of sweeps alone"
    return params


def table_of(target: Target, stage: str, table: str, columns: Sequence[str], filters: object = None) -> pa.Table:
    """A table of a complete stage. Raises SystemExit for a stage that is not."""
    complete = target.store.newest_set(stage)
    if complete is None:
        raise SystemExit(f"{stage} is not complete in {target.config.run_root}")
    return pa.concat_tables(target.store.table(done, table, list(columns), filters) for done in complete.dones.values())


def lines(board: Mapping[str, Entry], over: str) -> Iterator[str]:
    """The table in Markdown; `over` names the entry that the last column compares the others with."""
    if over not in board or not board[over].correct:
        raise SystemExit(f"{over!r} is not among the maps with counts: {', '.join(board)}")
    columns = [metric for metric in _SHOWN if any(metric in entry.values for entry in board.values())]
    yield f"| | {' | '.join(columns)} | max_box_acc over {over}, 95 % |"
    yield "|---" * (len(columns) + 2) + "|"
    baseline = np.mean(board[over].correct, axis=0)
    for name, entry in board.items():
        cells = [_cell(entry.values.get(metric, [])) for metric in columns]
        yield f"| {name} | {' | '.join(cells)} | {_difference(entry, baseline) if name != over else ''} |"


def _cell(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.1f}" if values else ""
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def _difference(entry: Entry, baseline: Correct) -> str:
    if not entry.correct:
        return ""
    gained = float_mean_interval(np.mean(entry.correct, axis=0) - baseline, seed=0)
    return f"{gained.value:+.1f} ({gained.low:+.1f} to {gained.high:+.1f})"


if __name__ == "__main__":
    main()
