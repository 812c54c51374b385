"""Planning: the shards of each stage, which of them are done, and why the rest is not."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from pipeline.base.errors import UsageError
from pipeline.base.params import Parameters
from pipeline.contract.stage import AnyStage, SourceStage
from pipeline.planning.graph import topological
from pipeline.planning.reasons import why_to_run
from pipeline.planning.walk import Walk, check_inputs
from pipeline.store.records import Done, Recipe, Shard, ShardRef, Task, Upstream
from pipeline.store.store import Store

Listing = Literal["never", "wanted", "needed"]
"""When the data set is listed. never: only its newest listing is used. wanted: where the config wants it (`rescan`) or
it was never listed, if the data set is there. needed: as wanted, but an absent data set is made first, and shards to be
computed carry the rows that their workers read."""

AFTER_LISTING = "known once the data set is listed"
AFTER = "known after {}"
"""Shown for stages whose inputs are not known yet: some of their missing shards may turn out to be done."""


@dataclass(frozen=True)
class PlannedStage:
    """One stage with its recipe, shards, what is committed of them, and why the rest is to run.

    known: False where the shards cannot be known, because the data set was never listed; there are none then.
    """

    stage: AnyStage
    upstream: Upstream
    done: Mapping[str, Done]
    why: str = ""
    known: bool = True

    @property
    def name(self) -> str:
        """The stage's name in the run."""
        return self.stage.name

    @property
    def recipe(self) -> Recipe:
        """What its results depend on."""
        return self.upstream.recipe

    @property
    def shards(self) -> Sequence[Shard]:
        """All its shards, in plan order."""
        return self.upstream.shards

    @property
    def missing(self) -> list[Shard]:
        """Shards that are not committed, in plan order."""
        return [shard for shard in self.shards if shard.key not in self.done]

    @property
    def keys(self) -> list[str]:
        """The keys of all shards."""
        return [shard.key for shard in self.shards]


class DataListing(NamedTuple):
    """How many images a listing of the data set found, and how long it took."""

    stage: str
    images: int
    seconds: float


class Planner:
    """Plans stages one after the other. Reads manifests, lists the data set once at the most, and writes nothing.

    anew: stages that are to be computed again, whatever is committed of them. listings: what was listed so far.
    """

    def __init__(self, store: Store, listing: Listing = "wanted", anew: Collection[str] = ()) -> None:
        self.walk = Walk()
        self.listings: list[DataListing] = []
        self._store = store
        self._listing = listing
        self._anew = anew
        self._sources: dict[str, SourceStage[Parameters]] = {}
        self._unknown: set[str] = set()
        self._open: dict[str, str] = {}
        """Stage -> why the shard keys of its downstream stages are not final."""

    def plan_all(self, stages: Mapping[str, AnyStage]) -> dict[str, PlannedStage]:
        """Plan every stage in topological order. Raises UsageError as `check_inputs` and `plan` do."""
        check_inputs(stages)
        return {name: self.plan(stages[name]) for name in topological(stages)}

    def plan(self, stage: AnyStage) -> PlannedStage:
        """Plan a stage on the stages passed so far, and pass it. Raises UsageError for inputs that do not fit."""
        recipe = self.walk.recipe(stage)
        shards = self._shards(stage, recipe)
        if shards is None:
            self._unknown.add(stage.name)
            return PlannedStage(stage, self.walk.step(stage, recipe, ()), {}, AFTER_LISTING, known=False)
        planned = self.committed(stage, self.walk.step(stage, recipe, shards))
        if stage.reads_listing and planned.missing and self._listing == "needed" and self._list_inputs(stage):
            planned = self.committed(stage, self.walk.step(stage, recipe, self.walk.plan(stage, recipe)))
        return planned

    def committed(self, stage: AnyStage, upstream: Upstream) -> PlannedStage:
        """A planned stage with what is committed of it now."""
        recipe, shards = upstream.recipe, upstream.shards
        done = self._store.done(stage.name, recipe.id, [shard.key for shard in shards])
        upstream = self.settle(stage, upstream, done)
        if len(done) == len(shards):
            return PlannedStage(stage, upstream, done)
        why = why_to_run(stage.name, recipe, shards, len(done), self._store)
        return PlannedStage(stage, upstream, done, "; ".join(filter(None, (why, self._open_input(stage)))))

    def settle(self, stage: AnyStage, upstream: Upstream, done: Mapping[str, Done]) -> Upstream:
        """Pass a stage with the identities of its committed shards, of which downstream keys are made."""
        self._open[stage.name] = self._open_input(stage)
        if not stage.by_content:
            return upstream
        shards = [_as_done(shard, done[shard.key]) if shard.key in done else shard for shard in upstream.shards]
        if not all(shard.identity for shard in shards):
            self._open[stage.name] = AFTER.format(stage.name)
        return self.walk.step(stage, upstream.recipe, shards)

    def _open_input(self, stage: AnyStage) -> str:
        """Why the keys of a stage are not final; empty where they are."""
        return next(filter(None, (self._open.get(name) for name in self._input_names(stage))), "")

    def _input_names(self, stage: AnyStage) -> list[str]:
        return [upstream.name for upstreams in self.walk.inputs(stage).values() for upstream in upstreams]

    def _shards(self, stage: AnyStage, recipe: Recipe) -> list[Shard] | None:
        if isinstance(stage, SourceStage):
            return self._source_shards(stage, recipe)
        return None if self._unknown & set(self._input_names(stage)) else self.walk.plan(stage, recipe)

    def _source_shards(self, source: SourceStage[Parameters], recipe: Recipe) -> list[Shard] | None:
        self._sources[source.name] = source
        known = source.known_shards(recipe.id, self._store)
        if self._listing == "never" or (known is not None and not self._relists(source, recipe, known)):
            return known
        if source.is_absent():
            if self._listing == "wanted":
                return known
            source.provide()
        return self._listed(source, recipe.id)

    def _listed(self, source: SourceStage[Parameters], recipe: str) -> list[Shard]:
        started = time.monotonic()
        shards = source.list_shards(recipe, self._store, self._listing == "needed")
        images = sum(shard.rows or 0 for shard in shards)
        self.listings.append(DataListing(source.name, images, time.monotonic() - started))
        return shards

    def _list_inputs(self, stage: AnyStage) -> bool:
        """List the data sets that a stage reads and that were planned by a kept listing; whether there were any."""
        listings = {listing.stage for listing in self.listings}
        trusted = (self._sources.keys() & set(self._input_names(stage))) - listings
        for source in map(self._sources.__getitem__, sorted(trusted)):
            passed = self.walk.passed[source.name]
            listed = {shard.key: shard for shard in self._listed(source, passed.recipe.id)}
            if any(shard.key not in listed or listed[shard.key].args != shard.args for shard in passed.shards):
                raise UsageError(
                    f"stage {stage.name}: the data set changed since the listing that rescan: false trusts; run with"
                    " dataset.rescan: true"
                )
            shards = [replace(shard, payload=listed[shard.key].payload) for shard in passed.shards]
            self.walk.step(source, passed.recipe, shards)
        return bool(trusted)

    def _relists(self, source: SourceStage[Parameters], recipe: Recipe, known: Sequence[Shard]) -> bool:
        """Whether to list a data set again: a kept listing lacks the rows that the workers of missing shards read."""
        relists = source.relists(recipe.id, self._store)
        if relists or self._listing == "wanted":
            return relists
        return source.name in self._anew or len(
            self._store.done(source.name, recipe.id, [shard.key for shard in known])
        ) < len(known)


def make_plan(stages: Mapping[str, AnyStage], store: Store, listing: Listing = "wanted") -> dict[str, PlannedStage]:
    """Plan every stage in topological order.

    Raises:
        UsageError: an input that does not exist, is of the wrong kind or does not fit, or a circle of stages.
    """
    return Planner(store, listing).plan_all(stages)


def resolve(shard: Shard, committed: Mapping[str, Mapping[str, Done]]) -> Task:
    """A shard with its inputs replaced by their manifests; `committed`: stage -> key -> Done."""
    return Task(shard, {slot: tuple(_done(ref, committed) for ref in refs) for slot, refs in shard.inputs.items()})


def _as_done(shard: Shard, done: Done) -> Shard:
    """A shard with the identity and the labels of its result."""
    return replace(shard, identity=done.identity, labels=shard.labels if done.labels is None else done.labels)


def _done(ref: ShardRef, committed: Mapping[str, Mapping[str, Done]]) -> Done:
    return committed[ref.stage][ref.key]
