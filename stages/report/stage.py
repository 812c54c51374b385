"""Stage `report`: a run's tables -> one HTML page."""

from collections.abc import Mapping
from dataclasses import replace

from pipeline.base.json_types import Json
from pipeline.contract.context import Context
from pipeline.contract.stage import Stage, Worker, whole
from pipeline.store.records import Inputs, Shard, Upstream
from stages.bases.scored_inputs import check_of_same_images, check_truth
from stages.report.options import ReportParams


class Report(Stage[ReportParams]):
    """Writes `report.html`: metrics, curves, boxes and heat maps of a run on one page."""

    kind = "report"
    version = 5
    Params = ReportParams
    outputs = ()
    light = True

    def check_inputs(self, inputs: Inputs) -> None:
        """Refuse the ground truth, or the groups of equal pictures, of other images."""
        check_truth(self.name, inputs)
        check_of_same_images(self.name, inputs, "duplicates")

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """One shard, which also carries the recipes of all upstream stages; its own recipe hashes them already."""
        (shard,) = whole(recipe, inputs)
        return [replace(shard, payload=_provenance(inputs))]

    def worker(self, context: Context) -> Worker:
        """The worker, which writes the page."""
        from stages.report.worker import ReportWorker

        return ReportWorker(self.name, self.params, context)


def _provenance(inputs: Inputs) -> Mapping[str, Json]:
    """Stage name -> ingredients of its recipe, for all upstream stages; each stage after those it reads."""
    found: dict[str, Json] = {}

    def visit(upstream: Upstream) -> None:
        if upstream.name not in found:
            for upstreams in upstream.inputs.values():
                for above in upstreams:
                    visit(above)
            found.setdefault(upstream.name, upstream.recipe.ingredients())

    for upstreams in inputs.values():
        for upstream in upstreams:
            visit(upstream)
    return found
