"""Stage `quality`: pseudo boxes of several stages -> signals of each box, and the chance that it is right."""

import logging
from collections.abc import Mapping
from typing import Any

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from pipeline.contract.context import Context
from pipeline.contract.stage import Stage, Worker, all_refs
from pipeline.store.records import Done, Inputs, Shard, Upstream, shard_key
from pipeline.store.store import Store
from stages.bases.scored_inputs import check_truth
from stages.bases.threshold_choice import choice_split
from stages.quality.options import LEAST_OF_EACH, QualityParams

_LOG = logging.getLogger("weakbox.quality")
_WITHOUT_CLASSES = frozenset({"ddt", "ncut", "import"})
"""Kinds whose boxes are informative even without several classes."""


class Quality(Stage[QualityParams]):
    """Signals of every box (agreement of sources, contrast, borders, the classifier's confidence), and its quality.

    Quality is the chance that the box is right, by a small model fitted to the boxed images of one held-out split of
    this data set; a fit is not valid for another data set. Without such boxes it is null.
    """

    kind = "quality"
    version = 2
    Params = QualityParams
    outputs = ("qualities", "quality_fits", "verdicts", "metrics")
    light = True

    def check(self) -> None:
        """Refuse an empty list of sources."""
        super().check()
        if not self.params.labels:
            raise UsageError(f"stage {self.name}: labels names no stage of pseudo boxes")

    def check_inputs(self, inputs: Inputs) -> None:
        """Refuse the ground truth of other images."""
        check_truth(self.name, inputs)

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """One shard that reads everything: ranks need whole classes, and one model is fitted for all."""
        args = {"split": choice_split(self.params.split, inputs)}
        refs = all_refs(inputs)
        by_classes: list[Json] = [source.name for source in inputs["labels"] if _tells_classes_apart(source)]
        said = {"run": recipe, "dataset": inputs["images"][0].title, "by_classes": by_classes}
        return [Shard(key=shard_key(recipe, refs, args), inputs=refs, args=args, payload=said)]

    def worker(self, context: Context) -> Worker:
        """The worker; it needs no set-up."""
        from stages.quality.worker import QualityWorker

        return QualityWorker(self.name, self.params, context)

    def tell(self, store: Store, done: Mapping[str, Done]) -> None:
        """Log how well quality tells right boxes from wrong ones, or what is missing for it; and the verdict."""
        from stages.scoring.verdict import Verdict, overall

        for shard in done.values():
            for row in store.table(shard, "quality_fits").to_pylist():
                self._tell_fit(row)
            verdicts = [Verdict(**row) for row in store.table(shard, "verdicts").to_pylist()]
            for said in dict.fromkeys(verdict.said for verdict in verdicts if verdict.level != "good"):
                _LOG.warning("%s: %s", self.name, said)
            _LOG.info("%s: verdict: %s", self.name, overall(verdicts).said)

    def _tell_fit(self, row: Mapping[str, Any]) -> None:
        if not row["given"]:
            _LOG.info("%s: quality of %s is unknown: %s", self.name, row["source"], self._what_lacks(row))
            return
        _LOG.info(
            "%s: %s: AUC %.2f (standard error %.2f) on %d images of %s, by cross-validation; of the better half %.0f %%"
            " are right, of the other %.0f %%",
            self.name,
            *(row[name] for name in ("source", "auc", "auc_error", "images", "split", "better", "worse")),
        )

    def _what_lacks(self, row: Mapping[str, Any]) -> str:
        boxed = f"{row['images']} images of {row['split']} have a true box"
        if row["images"] < self.params.min_boxed:
            return f"{boxed}, and {self.params.min_boxed} are needed: `weakbox review --sample 40` draws some"
        if row["auc"] is not None:
            return f"{boxed}, and signals tell right boxes from wrong ones no better than chance (AUC {row['auc']:.2f})"
        return (
            f"{boxed}, {row['right']:.0f} % of them a right one: {LEAST_OF_EACH} right and as many wrong ones are"
            " needed to tell them apart"
        )


def _tells_classes_apart(source: Upstream) -> bool:
    """Whether boxes come from a network that was trained on the classes of this data set."""
    waiting, taught = [source], False
    while waiting:
        each = waiting.pop()
        if each.recipe.kind in _WITHOUT_CLASSES:
            return False
        taught |= each.recipe.params.get("epochs", 0) != 0 or each.recipe.params.get("train", "all") != "all"
        waiting += [upstream for upstreams in each.inputs.values() for upstream in upstreams]
    return taught
