"""Stage `calibrate`: the threshold of the pipeline's own box rule, chosen on dev."""

from dataclasses import replace

from pipeline.base.errors import UsageError
from pipeline.contract.context import Context
from pipeline.contract.stage import Stage, Worker, all_refs
from pipeline.store.records import Inputs, Shard, Upstream, shard_key
from stages.bases.box_rule_options import rule_columns
from stages.bases.scored_inputs import check_truth
from stages.bases.splits import boxed_splits, check_any_split
from stages.calibrate.options import CHOSEN_ON, NO_BOXES, CalibrateParams
from stages.scoring.cuts.cut_counts import MAX_BOX_ACC_V2_IOUS


class Calibrate(Stage[CalibrateParams]):
    """Chooses, on dev alone, the threshold at which the box rule that was counted is best (frame image, relative)."""

    kind = "calibrate"
    version = 3
    Params = CalibrateParams
    outputs = ("thresholds",)
    light = True

    def check(self) -> None:
        """Refuse an IoU level that is not counted."""
        super().check()
        if self.params.iou not in MAX_BOX_ACC_V2_IOUS:
            raise UsageError(f"stage {self.name}: iou must be one of {', '.join(map(str, MAX_BOX_ACC_V2_IOUS))}")

    def check_inputs(self, inputs: Inputs) -> None:
        """Refuse the ground truth of other images."""
        check_truth(self.name, inputs)

    def check_data(self, inputs: Inputs) -> None:
        """Refuse a data set without ground-truth boxes of dev, and counts of other splits."""
        boxed = boxed_splits(inputs)
        if boxed is not None and CHOSEN_ON not in boxed:
            raise UsageError(f"stage {self.name}: {NO_BOXES}")
        check_any_split(self.name, (CHOSEN_ON,), inputs["counts"][0])

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """One shard, which reads those shards that hold images of dev: others cannot change the choice."""
        refs = all_refs({slot: tuple(map(_with_dev, upstreams)) for slot, upstreams in inputs.items()})
        (counted,) = inputs["counts"]
        return [Shard(key=shard_key(recipe, refs), inputs=refs, payload=rule_columns(counted.recipe))]

    def worker(self, context: Context) -> Worker:
        """Needs no set-up."""
        from stages.calibrate.worker import CalibrateWorker

        return CalibrateWorker(self.name, self.params, context)


def _with_dev(upstream: Upstream) -> Upstream:
    return replace(upstream, shards=[shard for shard in upstream.shards if "dev" in shard.labels])
