"""Stage `ddt`: all images of a class -> its component and their score maps. A shard is a class; one pass an image."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.base.json_types import Json
from pipeline.contract.context import Context
from pipeline.contract.stage import Worker
from pipeline.store.records import Inputs, LabelCounts, Shard, ShardRef, shard_key
from stages.bases.model_stage import ModelStage
from stages.bases.planned_network import PlannedNetwork
from stages.ddt.options import DdtParams
from stages.vision.precision import precision_ingredients

if TYPE_CHECKING:
    from stages.vision.backbones.networks import LocalizerNetwork


class Ddt(ModelStage[DdtParams]):
    """Deep Descriptor Transforming, class by class."""

    kind = "ddt"
    version = 2
    Params = DdtParams
    outputs = ("score_maps", "components")
    per_image = True

    def ingredients(self) -> Mapping[str, Json]:
        """Whether batch norms are folded: it changes the rounding of 16-bit networks."""
        return precision_ingredients(self.params.precision)

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """One shard for each class; it reads only the shards of images that hold the class."""
        (images,) = inputs["images"]
        holders: dict[str, list[ShardRef]] = {}
        counts: dict[str, dict[str, dict[str, int]]] = {}
        for shard, ref in zip(images.shards, images.refs(), strict=True):
            for split, of_split in shard.labels.items():
                for name, count in of_split.items():
                    of_class = counts.setdefault(name, {}).setdefault(split, {name: 0})
                    of_class[name] += count
                    if ref not in holders.setdefault(name, [])[-1:]:
                        holders[name].append(ref)
        model = tuple(ref for upstream in inputs["model"] for ref in upstream.refs())
        return [_shard(recipe, name, tuple(holders[name]), model, counts[name]) for name in sorted(holders)]

    def check_network(self, network: "LocalizerNetwork", planned: PlannedNetwork) -> None:
        """Refuse a network without the layers."""
        self.params.taps(network.tap_names, planned.backbone)

    def worker(self, context: Context) -> Worker:
        """A worker that loads the network at its first shard."""
        from stages.ddt.worker import DdtWorker

        return DdtWorker(self.name, self.params, context, self.loaders)


def _shard(
    recipe: str, name: str, images: tuple[ShardRef, ...], model: tuple[ShardRef, ...], labels: LabelCounts
) -> Shard:
    refs, args = {"images": images, "model": model}, {"label_name": name}
    rows = sum(sum(of_split.values()) for of_split in labels.values())
    return Shard(key=shard_key(recipe, refs, args), inputs=refs, args=args, rows=rows, labels=labels)
