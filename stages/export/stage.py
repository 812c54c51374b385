"""Stage `export`: which pseudo labels or predictions `weakbox export` writes, and in which format."""

from pipeline.base.errors import UsageError
from pipeline.contract.context import Context
from pipeline.contract.stage import Stage, Worker, whole
from pipeline.store.records import Inputs, Shard
from stages.bases.splits import check_any_split
from stages.export.options import ExportParams


class Export(Stage[ExportParams]):
    """What `weakbox export` writes when no stage is named; a run itself exports nothing, as it has no folder for it."""

    kind = "export"
    version = 3
    Params = ExportParams
    outputs = ()
    light = True

    def check(self) -> None:
        """Refuse none or both of labels and predictions, and what the format cannot hold."""
        super().check()
        if (self.params.labels is None) == (self.params.predictions is None):
            raise UsageError(f"stage {self.name}: give exactly one of labels and predictions")
        if wrong := self.params.mistake():
            raise UsageError(f"stage {self.name}: {wrong}")

    def check_data(self, inputs: Inputs) -> None:
        """Refuse splits without an image that has a box to be exported."""
        check_any_split(self.name, self.params.splits, inputs["images"][0])
        for source in (*inputs["labels"], *inputs["predictions"]):
            check_any_split(self.name, self.params.splits, source)

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """One shard."""
        return whole(recipe, inputs)

    def worker(self, context: Context) -> Worker:
        """Computes nothing: only `weakbox export` writes files."""
        from stages.export.worker import Nothing

        return Nothing()
