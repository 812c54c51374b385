"""Stage `quality`: pseudo boxes of several stages -> what speaks for each, and the chance that it is right."""

import logging
from collections.abc import Mapping

from pipeline.base.errors import UsageError
from pipeline.contract.context import Context
from pipeline.contract.stage import Stage, Worker, all_refs
from pipeline.store.records import Done, Inputs, Shard, shard_key
from pipeline.store.store import Store
from stages.bases.scored_inputs import check_truth
from stages.bases.threshold_choice import choice_split
from stages.quality.options import QualityParams

_LOG = logging.getLogger("weakbox.quality")


class Quality(Stage[QualityParams]):
    """Signals of every box (agreement of sources, contrast, borders, the classifier's confidence), and its quality.

    Quality is the chance that the box is right, by a small model fitted to the boxed images of one held-out split of
    this very data set: a fit does not carry over to another. Without such boxes it is null.
    """

    kind = "quality"
    version = 1
    Params = QualityParams
    outputs = ("qualities", "quality_fits")
    light = True

    def check(self) -> None:
        """Refuse to judge nothing."""
        super().check()
        if not self.params.labels:
            raise UsageError(f"stage {self.name}: labels names no stage of pseudo boxes")

    def check_inputs(self, inputs: Inputs) -> None:
        """Refuse the ground truth of other images."""
        check_truth(self.name, inputs)

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """One shard that reads everything: ranks are of whole classes, and one model is fitted."""
        args = {"split": choice_split(self.params.split, inputs)}
        refs = all_refs(inputs)
        return [Shard(key=shard_key(recipe, refs, args), inputs=refs, args=args)]

    def worker(self, context: Context) -> Worker:
        """Needs no set-up."""
        from stages.quality.worker import QualityWorker

        return QualityWorker(self.name, self.params, context)

    def tell(self, store: Store, done: Mapping[str, Done]) -> None:
        """How well quality tells right boxes from wrong ones, or what it would take."""
        for shard in done.values():
            for row in store.table(shard, "quality_fits").to_pylist():
                if row["auc"] is None:
                    _LOG.info("%s: quality of %s is unknown: %s", self.name, row["source"], self._what_lacks(row))
                else:
                    _LOG.info(
                        "%s: %s: AUC %.2f (standard error %.2f) on %d images of %s, by cross-validation; of the better"
                        " half %.0f %% are right, of the other %.0f %%",
                        self.name,
                        *(row[name] for name in ("source", "auc", "auc_error", "images", "split", "better", "worse")),
                    )

    def _what_lacks(self, row: Mapping[str, object]) -> str:
        if row["right"] in (0, 100):
            return f"of {row['images']} boxed images of {row['split']} all or none are right"
        return (
            f"{row['images']} images of {row['split']} have a true box, and {self.params.min_boxed} are needed:"
            " `weakbox review --sample 40` draws some"
        )
