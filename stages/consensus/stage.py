"""Stage `consensus`: pseudo labels of several stages -> one for each image."""

from collections.abc import Sequence

from pipeline.base.errors import UsageError
from pipeline.base.extras import require
from pipeline.contract.context import Context
from pipeline.contract.stage import Stage, Worker, all_refs
from pipeline.store.records import Inputs, Shard, ShardRef, Upstream, shard_key
from stages.consensus.options import ConsensusParams

_SLOT = "labels"


class Consensus(Stage[ConsensusParams]):
    """Takes for each image the pseudo label of the source with the highest quality.

    Its rows name that source and the quality. With a single source, its boxes get their quality.
    """

    kind = "consensus"
    version = 2
    Params = ConsensusParams
    outputs = ("pseudo_labels",)

    def check(self) -> None:
        """Refuse an empty list of sources, and a source that is named twice."""
        super().check()
        labels = self.params.labels
        if not labels or len(set(labels)) < len(labels):
            raise UsageError(f"stage {self.name}: labels names {'a stage twice' if labels else 'no stage'}")

    def check_inputs(self, inputs: Inputs) -> None:
        """Refuse sources that the quality stage does not read, or reads under another recipe."""
        (quality,) = inputs["quality"]
        judged = {name: recipe for pairs in (quality.recipe.inputs.get(_SLOT, ()),) for name, recipe in pairs}
        for source in inputs[_SLOT]:
            if judged.get(source.name) != source.recipe.id:
                raise UsageError(
                    f"stage {self.name}: {quality.name} judges {', '.join(judged)}, not {source.name}:"
                    f" add it to the labels of {quality.name}"
                )

    def check_packages(self) -> None:
        """Refuse rule `weighted` without the optional package ensemble-boxes."""
        if self.params.rule == "weighted":
            require("ensemble_boxes", "ensemble-boxes", "fusion", f"stage {self.name}: rule weighted")

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """One shard for each shard of images; it reads the sources' shards that may hold some of these images."""
        (images,) = inputs["images"]
        sources = [_Holders(source, images) for source in inputs[_SLOT]]
        quality = all_refs({"quality": inputs["quality"]})
        return [
            _shard(recipe, shard, ref, tuple(own for source in sources for own in source.of(place, shard)), quality)
            for place, (shard, ref) in enumerate(zip(images.shards, images.refs(), strict=True))
        ]

    def worker(self, context: Context) -> Worker:
        """The worker; it keeps the qualities in memory from shard to shard."""
        from stages.consensus.worker import ConsensusWorker

        return ConsensusWorker(self.name, self.params, context)


class _Holders:
    """The shards of a source that may hold rows of a shard of images.

    If the source is sharded like the images, this is the shard of the same index; else all shards that share a split
    and a class with the images, and those that do not state their labels.
    """

    def __init__(self, source: Upstream, images: Upstream) -> None:
        self._refs = source.refs()
        of_source, of_images = ([shard.labels for shard in upstream.shards] for upstream in (source, images))
        self._alike = of_source == of_images and all(of_source)
        self._places: dict[tuple[str, str], list[int]] = {}
        self._anywhere: list[int] = []
        for place, shard in enumerate(source.shards):
            if not shard.labels:
                self._anywhere.append(place)
            for group in _groups(shard):
                self._places.setdefault(group, []).append(place)

    def of(self, place: int, images: Shard) -> Sequence[ShardRef]:
        """The source's shards for the shard of images with index `place`."""
        if self._alike:
            return (self._refs[place],)
        held = {own for group in _groups(images) for own in self._places.get(group, ())}
        return [self._refs[own] for own in sorted({*held, *self._anywhere})]


def _groups(shard: Shard) -> list[tuple[str, str]]:
    return [(split, name) for split, counts in shard.labels.items() for name in counts]


def _shard(
    recipe: str, images: Shard, ref: ShardRef, labels: tuple[ShardRef, ...], quality: dict[str, tuple[ShardRef, ...]]
) -> Shard:
    refs = {"images": (ref,), _SLOT: labels, **quality}
    return Shard(shard_key(recipe, refs), refs, labels=images.labels)
