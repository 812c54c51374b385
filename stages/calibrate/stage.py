"""Stage `calibrate`: the threshold of the pipeline's own box rule, chosen on a split that is not trained on."""

from dataclasses import replace

from pipeline.base.errors import UsageError
from pipeline.contract.context import Context
from pipeline.contract.stage import Stage, Worker, all_refs
from pipeline.store.records import Inputs, Shard, Upstream, shard_key
from schemas.types import HELD_OUT
from stages.bases.box_rule_options import rule_columns
from stages.bases.scored_inputs import check_truth
from stages.bases.splits import boxed_splits, check_any_split
from stages.bases.threshold_choice import choice_split
from stages.calibrate.options import CalibrateParams
from stages.scoring.cuts.cut_counts import MAX_BOX_ACC_V2_IOUS


class Calibrate(Stage[CalibrateParams]):
    """Chooses, on one held-out split, the best threshold of the box rule that `sweep` counted.

    The rule has frame image and kind relative.
    """

    kind = "calibrate"
    version = 4
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
        """Refuse a split without ground-truth boxes, and counts of other splits."""
        split, boxed = choice_split(self.params.split, inputs), boxed_splits(inputs)
        if boxed is not None and split not in boxed:
            have = [other for other in HELD_OUT if other in boxed]
            words = f", or a split that has some: {', '.join(have)}" if have else ""
            raise UsageError(
                f"stage {self.name}: no image of split {split} has a ground-truth box; give a fixed threshold{words}"
            )
        check_any_split(self.name, (split,), inputs["counts"][0])

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """One shard, which reads those shards that hold images of the split: others cannot change the choice."""
        args = {"split": choice_split(self.params.split, inputs)}
        refs = all_refs(
            {
                slot: tuple(_with(args["split"], upstream) for upstream in upstreams)
                for slot, upstreams in inputs.items()
            }
        )
        (counted,) = inputs["counts"]
        key = shard_key(recipe, refs, args)
        return [Shard(key=key, inputs=refs, args=args, payload=rule_columns(counted.recipe))]

    def worker(self, context: Context) -> Worker:
        """Needs no set-up."""
        from stages.calibrate.worker import CalibrateWorker

        return CalibrateWorker(self.name, self.params, context)


def _with(split: str, upstream: Upstream) -> Upstream:
    return replace(upstream, shards=[shard for shard in upstream.shards if split in shard.labels])
