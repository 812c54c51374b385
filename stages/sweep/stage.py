"""Stage `sweep`: score maps -> integer counts at every threshold, shard by shard."""

from collections.abc import Sequence
from dataclasses import replace

from pipeline.base.errors import UsageError
from pipeline.contract.context import Context
from pipeline.contract.stage import Stage, Worker
from pipeline.store.records import Inputs, Shard, ShardRef, Upstream, shard_key
from stages.bases.imported_maps import said_of_frame
from stages.bases.refinement import MadeOf, images_behind
from stages.bases.scored_inputs import check_truth
from stages.bases.splits import check_any_split
from stages.sweep.options import SweepParams


class Sweep(Stage[SweepParams]):
    """Counts, at every threshold, the images of held-out splits that score maps localize, and their pixels."""

    kind = "sweep"
    version = 5
    Params = SweepParams
    outputs = ("counts",)

    def check(self) -> None:
        """Refuse to count nothing."""
        super().check()
        if not self.params.splits:
            raise UsageError(f"stage {self.name}: splits names none; leave it out for dev, val and test")

    def check_inputs(self, inputs: Inputs) -> None:
        """Refuse the ground truth of other images."""
        check_truth(self.name, inputs)

    def check_data(self, inputs: Inputs) -> None:
        """Refuse score maps without an image of the splits."""
        check_any_split(self.name, self.params.splits, inputs["maps"][0])

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """One shard for each shard of score maps that holds images of the splits."""
        (maps,), (images,), (truth,) = inputs["maps"], inputs["images"], inputs["truth"]
        made = MadeOf(truth, images)
        return [
            replace(_shard(recipe, shard, ref, images, made, self.params.splits), payload=said_of_frame(maps.recipe))
            for shard, ref in zip(maps.shards, maps.refs(), strict=True)
            if any(split in shard.labels for split in self.params.splits)
        ]

    def worker(self, context: Context) -> Worker:
        """Needs no set-up."""
        from stages.sweep.worker import SweepWorker

        return SweepWorker(self.params, context)


def _shard(recipe: str, maps: Shard, ref: ShardRef, images: Upstream, truth: MadeOf, splits: Sequence[str]) -> Shard:
    """A shard that reads maps, the images that these were made from, where that is known, and their ground truth."""
    behind = images_behind(maps, images) or images.refs()
    refs = {"maps": (ref,), "images": behind, "truth": truth.of(behind)}
    counted = {split: maps.labels[split] for split in splits if split in maps.labels}
    return Shard(key=shard_key(recipe, refs), inputs=refs, labels=counted)
