"""Stage `calibrate`: the threshold of the pipeline's own box rule, chosen on dev."""

from dataclasses import dataclass, replace

import pyarrow.compute as pc

from pipeline.errors import UsageError
from pipeline.params import option, reads
from pipeline.stage import Context, Inputs, Shard, ShardResult, Stage, Task, Upstream, whole
from pipeline.store import Store
from schemas import TABLES
from stages.evaluate.cuts.cut_counts import CUT_THRESHOLDS, MAX_BOX_ACC_V2_IOUS, choose_threshold
from stages.evaluate.gather import TRUTH_COLUMNS, tallies_of, truth_of
from stages.evaluate.stage.read import joined
from stages.evaluate.tally import FIXED, cut_counts, merge

_COUNT_COLUMNS = ("split", "method", "source", "rule", "iou", "images", "counts")


@dataclass(frozen=True)
class CalibrateParams:
    """Parameters of `calibrate`."""

    images: str = reads("images", "ingest", "the images")
    counts: str = reads("counts", "sweep", "stage that counted the score maps which get a threshold")
    iou: float = option(0.5, "IoU at which a box counts as correct: 0.3, 0.5 or 0.7")


class Calibrate(Stage):
    """Chooses, on dev alone, the threshold at which the pipeline of `boxes` (frame image, relative) is best."""

    kind = "calibrate"
    version = 2
    Params = CalibrateParams
    outputs = ("thresholds",)
    light = True

    def check(self) -> None:
        """Refuse an IoU level that is not counted."""
        super().check()
        if self.params.iou not in MAX_BOX_ACC_V2_IOUS:
            raise UsageError(f"stage {self.name}: iou must be one of {', '.join(map(str, MAX_BOX_ACC_V2_IOUS))}")

    def plan(self, recipe: str, inputs: Inputs, store: Store) -> list[Shard]:
        """One shard, which reads those shards that hold images of dev: others cannot change the choice."""
        return whole(recipe, {slot: tuple(map(_with_dev, upstreams)) for slot, upstreams in inputs.items()})

    def worker(self, context: Context) -> "_Calibration":
        """Needs no set-up."""
        return _Calibration(self.name, self.params, context)


def _with_dev(upstream: Upstream) -> Upstream:
    return replace(upstream, shards=[shard for shard in upstream.shards if "dev" in shard.labels])


class _Calibration:
    def __init__(self, stage: str, params: CalibrateParams, context: Context) -> None:
        self._stage, self._params, self._context = stage, params, context

    def __call__(self, task: Task) -> ShardResult:
        dev = pc.field("split") == "dev"
        images = len(
            truth_of(joined(self._context, task.inputs["images"], "images", TRUTH_COLUMNS, dev), "dev").image_ids
        )
        table = joined(
            self._context, task.inputs["counts"], "counts", _COUNT_COLUMNS, dev & (pc.field("rule") == FIXED)
        )
        counts = cut_counts(merge(tallies_of(table)), FIXED, images)
        if not images or counts is None:
            raise UsageError(
                f"stage {self._stage}: no image of split dev has a ground-truth box; give a fixed threshold"
            )
        choice = choose_threshold(counts, CUT_THRESHOLDS, self._params.iou)
        row = {
            "method": table.column("method")[0].as_py(),
            "source": table.column("source")[0].as_py(),
            "iou": self._params.iou,
            "threshold": choice.threshold,
            "value": choice.value,
            "n": images,
        }
        return ShardResult({"thresholds": TABLES["thresholds"].from_rows([row])})
