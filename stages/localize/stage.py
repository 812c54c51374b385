"""Stage `localize`: a model + images -> predictions: boxes, classes, or both, as its method gives them."""

from collections.abc import Collection, Mapping

from pipeline.base.json_types import Json
from pipeline.contract.context import Context
from pipeline.contract.stage import Worker, one_to_one
from pipeline.store.records import Inputs, LabelCounts, Shard
from stages.bases.model_stage import ModelStage
from stages.bases.splits import check_any_split
from stages.localize.options import LocalizeParams
from stages.vision.precision import precision_ingredients


class Localize(ModelStage[LocalizeParams]):
    """Predictions of one model."""

    kind = "localize"
    version = 2
    Params = LocalizeParams
    outputs = ("predictions",)
    per_image = True
    divisible = True
    needs_classifier = False

    def ingredients(self) -> Mapping[str, Json]:
        """Whether batch norms are folded: it changes the rounding of 16-bit networks."""
        return precision_ingredients(self.params.precision)

    def check_data(self, inputs: Inputs) -> None:
        """Refuse images of which none is of the chosen splits."""
        check_any_split(self.name, self.params.splits, inputs["images"][0])

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """One shard for each shard of images that holds one of the splits."""
        (images,) = inputs["images"]
        wanted = set(self.params.splits)
        shards = one_to_one(recipe, images, "images", extra={"model": inputs["model"]})
        return [
            Shard(shard.key, shard.inputs, rows=_count(shard, wanted), labels=_of(shard, wanted))
            for shard in shards
            if wanted & set(shard.labels)
        ]

    def worker(self, context: Context) -> Worker:
        """A worker that loads the model at its first shard."""
        from stages.localize.worker import LocalizeWorker

        return LocalizeWorker(self.name, self.params, context, self.loaders)


def _of(shard: Shard, splits: Collection[str]) -> LabelCounts:
    return {split: counts for split, counts in shard.labels.items() if split in splits}


def _count(shard: Shard, splits: Collection[str]) -> int:
    return sum(sum(counts.values()) for split, counts in shard.labels.items() if split in splits)
