"""Stage `evaluate`: every metric of every method, trivial predictors beside them, by class and size, in pairs."""

from dataclasses import replace

from pipeline.contract.context import Context
from pipeline.contract.stage import Stage, Worker, whole
from pipeline.store.records import Inputs, Shard
from stages.bases.scored_inputs import check_truth
from stages.evaluate.options import EvaluateParams


class Evaluate(Stage[EvaluateParams]):
    """Every metric of every method, with protocol, threshold and interval; never without the trivial predictors."""

    kind = "evaluate"
    version = 4
    Params = EvaluateParams
    outputs = ("metrics", "curves", "groups", "comparisons")
    light = True

    def check_inputs(self, inputs: Inputs) -> None:
        """Refuse the ground truth of other images."""
        check_truth(self.name, inputs)

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """One shard that reads everything."""
        (shard,) = whole(recipe, inputs)
        return [replace(shard, payload={"run": recipe, "dataset": inputs["images"][0].title})]

    def worker(self, context: Context) -> Worker:
        """Needs no set-up."""
        from stages.evaluate.worker import EvaluateWorker

        return EvaluateWorker(self.params, context)
