"""Stage `deduplicate`: images + what becomes of equal ones -> the images that all other stages read."""

from pipeline.contract.context import Context
from pipeline.contract.stage import Stage, Worker, all_refs
from pipeline.store.records import Inputs, Shard, ShardRef, shard_key
from stages.bases.scored_inputs import check_of_same_images
from stages.deduplicate.options import DeduplicateParams


class Deduplicate(Stage[DeduplicateParams]):
    """Moves images to the split, or leaves them out, as table `duplicates` says; all others pass as they are.

    A shard is that of the images; what later stages see of it changes where one of its images does. How many images of
    which split and class it holds is known once it is done.
    """

    kind = "deduplicate"
    version = 1
    Params = DeduplicateParams
    outputs = ("images",)
    by_content = True

    @property
    def title(self) -> str:
        """The name of the data set."""
        return self.params.title

    def check_inputs(self, inputs: Inputs) -> None:
        """Refuse the duplicates of other images."""
        check_of_same_images(self.name, inputs, "duplicates")

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """One shard for each shard of images; each reads all duplicates."""
        (images,) = inputs["images"]
        others = all_refs({"duplicates": inputs["duplicates"]})
        pairs = zip(images.shards, images.refs(), strict=True)
        return [_shard(recipe, shard, {"images": (ref,), **others}) for shard, ref in pairs]

    def worker(self, context: Context) -> Worker:
        """Needs no set-up."""
        from stages.deduplicate.worker import DeduplicateWorker

        return DeduplicateWorker(context)


def _shard(recipe: str, images: Shard, refs: dict[str, tuple[ShardRef, ...]]) -> Shard:
    """What the listing says of splits and classes is said on, until it is known better.

    What it says of boxes is not: images with boxes may come to splits that had none.
    """
    return Shard(shard_key(recipe, refs), refs, labels=images.labels)
