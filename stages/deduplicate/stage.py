"""Stage `deduplicate`: images + groups of equal ones -> the images that all other stages read."""

from pipeline.contract.context import Context
from pipeline.contract.stage import Stage, Worker, all_refs
from pipeline.store.records import Inputs, Shard, ShardRef, shard_key
from stages.bases.scored_inputs import check_of_same_images
from stages.deduplicate.options import DeduplicateParams


class Deduplicate(Stage[DeduplicateParams]):
    """Moves images to the split, or leaves them out, as table `duplicates` says; all others pass as they are.

    There is one shard for each shard of images. Its identity is theirs unless one of them is moved or left out.
    Its number of images by split and class is known once it is done.
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
        """Refuse duplicates that were found among other images."""
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
    """A shard with the counts of the listing by split and class, until the real ones are known.

    The listing's counts of boxes are not passed on: images with boxes may move to splits that had none.
    """
    return Shard(shard_key(recipe, refs), refs, labels=images.labels)
