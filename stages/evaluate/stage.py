"""Stage `evaluate`: every metric of every method, trivial predictors beside them, by class and size, in pairs."""

from dataclasses import replace

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from pipeline.contract.context import Context
from pipeline.contract.stage import Stage, Worker, whole
from pipeline.store.records import Inputs, Shard, Upstream
from stages.bases.ancestors import ancestors, of_drawn_boxes
from stages.bases.scored_inputs import check_truth
from stages.bases.splits import COUNTED, boxed_splits, check_any_split, splits_of
from stages.bases.threshold_choice import choices_behind
from stages.evaluate.options import EvaluateParams


class Evaluate(Stage[EvaluateParams]):
    """Every metric of every method, with protocol, threshold and interval; never without the trivial predictors."""

    kind = "evaluate"
    version = 6
    Params = EvaluateParams
    outputs = ("metrics", "curves", "groups", "comparisons")
    light = True

    def check_inputs(self, inputs: Inputs) -> None:
        """Refuse the ground truth of other images, and reporting a split that a sweep does not count."""
        check_truth(self.name, inputs)
        for source in inputs["counts"]:
            said = source.recipe.params.get("splits")
            counted = list(map(str, said)) if isinstance(said, list) else COUNTED
            for split in self.params.splits:
                if split not in counted:
                    raise UsageError(
                        f"stage {self.name}: it reports split {split}, and {source.name} counts {', '.join(counted)}"
                        f" alone: leave {split} out of splits, or counts out"
                    )

    def check_data(self, inputs: Inputs) -> None:
        """Refuse splits without images, and splits with ground truth for which a scored stage has no rows.

        Unless `oracle` is set, also refuse a split on which a threshold behind a scored stage was chosen.
        """
        (images,) = inputs["images"]
        check_any_split(self.name, self.params.splits, images)
        for split in (split for split in self.params.splits if split in (boxed_splits(inputs) or ())):
            for source in (*inputs["labels"], *inputs["predictions"], *inputs["counts"]):
                self._check_scored(split, source)
        if not self.params.oracle:
            self._check_choices(inputs)

    def _check_scored(self, split: str, source: Upstream) -> None:
        there = splits_of(source)
        if there is not None and split not in there:
            has = ", ".join(sorted(there)) or "no image"
            raise UsageError(
                f"stage {self.name}: it reports split {split}, and {source.name} has {has}: leave {split} out of splits"
                f" or {source.name} out of what is scored"
            )

    def _check_choices(self, inputs: Inputs) -> None:
        for source in (*inputs["labels"], *inputs["predictions"], *inputs["counts"], *inputs["classes"]):
            for choice in choices_behind(source, inputs):
                if choice.split in self.params.splits and not choice.cross_fitted:
                    chose, split = choice.stage, choice.split
                    raise UsageError(
                        f"stage {self.name}: it reports split {split}, on which {chose} chose the threshold behind"
                        f" {source.name}: leave {split} out of splits, give {chose} another split or cross_fit: true,"
                        " or say oracle: true here"
                    )

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """One shard that reads everything."""
        (shard,) = whole(recipe, inputs)
        chosen: dict[str, Json] = {
            source.name: [each.split for each in choices_behind(source, inputs) if not each.cross_fitted]
            for source in (*inputs["labels"], *inputs["predictions"])
        }
        scored = (*inputs["labels"], *inputs["predictions"], *inputs["counts"], *inputs["classes"])
        # The source of metrics from counts is the stage of their maps, an ancestor.
        behind = [each for source in scored for each in (source, *ancestors(source))]
        drawn: list[Json] = list(dict.fromkeys(each.name for each in behind if of_drawn_boxes(each)))
        said: dict[str, Json] = {"run": recipe, "dataset": inputs["images"][0].title, "chosen_on": chosen}
        return [replace(shard, payload={**said, "of_drawn_boxes": drawn})]

    def worker(self, context: Context) -> Worker:
        """Needs no set-up."""
        from stages.evaluate.worker import EvaluateWorker

        return EvaluateWorker(self.params, context)
