"""Stage `truth`: the annotations that a data set's reader found -> table truth. Only scoring and reports read it."""

from pipeline.contract.context import Context
from pipeline.contract.stage import Stage, Worker
from pipeline.store.records import Inputs, Shard, ShardRef, shard_key
from stages.truth.options import TruthParams

_SAID = ("annotations", "masks")
"""Arguments of image shards that identify their ground truth."""


class Truth(Stage[TruthParams]):
    """Boxes, masks and ignored regions of the annotated images, hashed on their own: adding them trains nothing again.

    Boxes that stick out of their image are clipped to it; a box of which less than half lies inside is refused.

    There is one shard for each shard of images with annotated ones. It is identified by the content of its mask files,
    which are read, and by its boxes, which are in the listing.
    """

    kind = "truth"
    version = 2
    Params = TruthParams
    outputs = ("truth",)
    by_content = True
    reads_listing = True

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """One shard for each shard of images that has annotated ones."""
        (images,) = inputs["images"]
        pairs = zip(images.shards, images.refs(), strict=True)
        return [_shard(recipe, shard, ref) for shard, ref in pairs if _said(shard)]

    def worker(self, context: Context) -> Worker:
        """Reads masks."""
        from stages.truth.worker import TruthWorker

        return TruthWorker(context)


def _said(images: Shard) -> dict[str, str]:
    return {name: str(images.args[name]) for name in _SAID if images.args.get(name)}


def _shard(recipe: str, images: Shard, ref: ShardRef) -> Shard:
    refs, said = {"images": (ref,)}, _said(images)
    return Shard(
        shard_key(recipe, refs, said),
        refs,
        said,
        labels=images.labels,
        payload=images.payload,
        identity="" if "masks" in said else said["annotations"],
    )
