"""Stage `export`: pseudo labels or predictions -> a data set in a format that other tools read."""

from pipeline.base.errors import UsageError
from pipeline.contract.context import Context
from pipeline.contract.stage import Stage, Worker, whole
from pipeline.store.records import Inputs, Shard
from stages.bases.splits import check_any_split
from stages.export.options import ExportParams


class Export(Stage[ExportParams]):
    """Writes one file a split."""

    kind = "export"
    version = 2
    Params = ExportParams
    outputs = ()
    light = True

    def check(self) -> None:
        """Refuse none or both of labels and predictions."""
        super().check()
        if (self.params.labels is None) == (self.params.predictions is None):
            raise UsageError(f"stage {self.name}: give exactly one of labels and predictions")

    def check_data(self, inputs: Inputs) -> None:
        """Refuse splits without an image that has a box to be exported."""
        check_any_split(self.name, self.params.splits, inputs["images"][0])
        for source in (*inputs["labels"], *inputs["predictions"]):
            check_any_split(self.name, self.params.splits, source)

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """One shard: a data set's ids need all images at once."""
        return whole(recipe, inputs)

    def worker(self, context: Context) -> Worker:
        """Writes the files."""
        from stages.export.worker import ExportWorker

        return ExportWorker(self.params, context)
