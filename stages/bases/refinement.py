"""Shared base of stages that refine score maps: each shard of maps is read with its images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pipeline.base.errors import UsageError
from pipeline.base.params import option, reads
from pipeline.contract.stage import Stage, all_refs
from pipeline.store.records import Inputs, Shard, ShardRef, Upstream, shard_key
from schemas.types import TRIVIAL, Split
from stages.bases.splits import check_any_split
from stages.vision.image_rows import is_of_predicted

__all__ = ["MadeOf", "RefinementParams", "RefinementStage", "images_behind"]

_SEEDS = "seeds"


@dataclass(frozen=True)
class RefinementParams:
    """Parameters of every refinement."""

    images: str = reads("images", "ingest", "the images")
    maps: str = reads("score_maps", "cam", "the score maps that are refined, of any method")
    splits: tuple[Split, ...] | None = option(None, "splits whose maps are refined; null: all")
    method: str | None = option(None, "what the refined maps are called in tables; null: <method of the maps>_<kind>")


R = TypeVar("R", bound=RefinementParams, covariant=True)


class RefinementStage(Stage[R]):
    """Score maps + images -> score maps. Inputs besides `maps`, `images` and `seeds` are read whole by each shard."""

    outputs = ("score_maps",)
    per_image = True

    def check(self) -> None:
        """Refuse a method that is no identifier, or a name that is reserved for other methods."""
        super().check()
        method = self.params.method
        if method is not None and not method.isidentifier():
            raise UsageError(f"stage {self.name}: method {method!r} is no name of letters, digits and _")
        if method is not None and (method in TRIVIAL or is_of_predicted(method)):
            raise UsageError(f"stage {self.name}: method {method!r} has a meaning of its own: choose another name")

    def check_data(self, inputs: Inputs) -> None:
        """Refuse maps of which none would be refined."""
        if self.params.splits is not None:
            check_any_split(self.name, self.params.splits, inputs["maps"][0])

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """One shard for each shard of score maps."""
        (maps,), (images,) = inputs["maps"], inputs["images"]
        others = all_refs({slot: ups for slot, ups in inputs.items() if slot not in ("maps", "images", _SEEDS)})
        seeds = _Seeds(inputs[_SEEDS]) if _SEEDS in inputs else None
        shards = []
        for shard, ref in zip(maps.shards, maps.refs(), strict=True):
            behind = images_behind(shard, images)
            refs = {"maps": (ref,), "images": behind or images.refs(), **others}
            if seeds is not None:
                refs[_SEEDS] = seeds.of(behind)
            shards.append(_shard(recipe, shard, refs, self.params.splits))
        return shards


def images_behind(maps: Shard, images: Upstream) -> tuple[ShardRef, ...]:
    """The shards of images that a shard of maps was made from; empty where unknown.

    The refs are the current ones: a shard that was listed again without a change has a new key, but the same identity.
    """
    behind = {ref.identity or ref.key for ref in maps.inputs.get("images", ()) if ref.stage == images.name}
    return tuple(ref for ref in images.refs() if (ref.identity or ref.key) in behind) if behind else ()


class MadeOf:
    """The shards of a stage, found by the shards of images that they read.

    source: the stage of the images. If it derives them from another stage (`deduplicate`), shards that read that
    stage's images are found, too.
    """

    def __init__(self, upstream: Upstream, source: Upstream) -> None:
        self._own = upstream.refs()
        self._places: dict[str, list[int]] = {}
        for place, shard in enumerate(upstream.shards):
            for ref in shard.inputs.get("images", ()):
                self._places.setdefault(_name(ref), []).append(place)
        pairs = zip(source.shards, source.refs(), strict=True)
        self._read = {_name(ref): [_name(own) for own in shard.inputs.get("images", ())] for shard, ref in pairs}

    def of(self, images: Sequence[ShardRef]) -> tuple[ShardRef, ...]:
        """The stage's shards that read any of these shards of images, in plan order."""
        names = {name for ref in images for name in (_name(ref), *self._read.get(_name(ref), ()))}
        return tuple(self._own[place] for place in sorted({i for name in names for i in self._places.get(name, ())}))


def _name(ref: ShardRef) -> str:
    return ref.identity or ref.key


class _Seeds:
    """The shards of seed maps, found by the images that they were made from."""

    def __init__(self, upstreams: Sequence[Upstream]) -> None:
        self._all = [ref for upstream in upstreams for ref in upstream.refs()]
        self._holders: dict[ShardRef, list[int]] = {}
        self._anywhere: list[int] = []
        shards = [shard for upstream in upstreams for shard in upstream.shards]
        for place, shard in enumerate(shards):
            own = shard.inputs.get("images", ())
            if not own:
                self._anywhere.append(place)
            for ref in own:
                self._holders.setdefault(ref, []).append(place)

    def of(self, images: tuple[ShardRef, ...]) -> tuple[ShardRef, ...]:
        """The shards of seeds that may hold some of these images, in plan order."""
        if not images:
            return tuple(self._all)
        places = {place for ref in images for place in self._holders.get(ref, ())}
        return tuple(self._all[place] for place in sorted({*places, *self._anywhere}))


def _shard(recipe: str, maps: Shard, refs: Mapping[str, tuple[ShardRef, ...]], splits: Sequence[str] | None) -> Shard:
    key = shard_key(recipe, refs)
    if splits is None:
        return Shard(key, refs, rows=maps.rows, rows_from="maps", labels=maps.labels)
    labels = {split: maps.labels[split] for split in splits if split in maps.labels}
    known = sum(sum(counts.values()) for counts in labels.values()) if maps.labels else None
    return Shard(key, refs, rows=known, labels=labels)
