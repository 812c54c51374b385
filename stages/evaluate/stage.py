"""Stage `evaluate`: every metric of every method, trivial predictors beside them, by class and size, in pairs."""

from dataclasses import replace

from pipeline.base.errors import UsageError
from pipeline.contract.context import Context
from pipeline.contract.stage import Stage, Worker, whole
from pipeline.store.records import Inputs, Shard, Upstream
from stages.bases.scored_inputs import check_truth
from stages.bases.splits import COUNTED, boxed_splits, check_any_split, splits_of
from stages.evaluate.options import EvaluateParams


class Evaluate(Stage[EvaluateParams]):
    """Every metric of every method, with protocol, threshold and interval; never without the trivial predictors."""

    kind = "evaluate"
    version = 4
    Params = EvaluateParams
    outputs = ("metrics", "curves", "groups", "comparisons")
    light = True

    def check_inputs(self, inputs: Inputs) -> None:
        """Refuse the ground truth of other images, and to report a split that sweeps never count."""
        check_truth(self.name, inputs)
        for split in self.params.splits:
            if inputs["counts"] and split not in COUNTED:
                counts = ", ".join(source.name for source in inputs["counts"])
                raise UsageError(
                    f"stage {self.name}: it reports split {split}, and {counts} counts {', '.join(COUNTED)} alone:"
                    f" leave {split} out of splits, or counts out"
                )

    def check_data(self, inputs: Inputs) -> None:
        """Refuse splits that no image is of, and those with ground truth that something scored has no row of."""
        (images,) = inputs["images"]
        check_any_split(self.name, self.params.splits, images)
        for split in (split for split in self.params.splits if split in (boxed_splits(inputs) or ())):
            for source in (*inputs["labels"], *inputs["predictions"], *inputs["counts"]):
                self._check_scored(split, source)

    def _check_scored(self, split: str, source: Upstream) -> None:
        there = splits_of(source)
        if there is not None and split not in there:
            has = ", ".join(sorted(there)) or "no image"
            raise UsageError(
                f"stage {self.name}: it reports split {split}, and {source.name} has {has}: leave {split} out of splits"
                f" or {source.name} out of what is scored"
            )

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """One shard that reads everything."""
        (shard,) = whole(recipe, inputs)
        return [replace(shard, payload={"run": recipe, "dataset": inputs["images"][0].title})]

    def worker(self, context: Context) -> Worker:
        """Needs no set-up."""
        from stages.evaluate.worker import EvaluateWorker

        return EvaluateWorker(self.params, context)
