"""Whether images are lost or made up on their way from stage to stage."""

from dataclasses import replace

from pipeline.base.params import upstream_names
from pipeline.contract.stage import AnyStage
from pipeline.planning.walk import Walk
from pipeline.store.records import CompleteSet, Shard, ShardRef
from pipeline.store.store import Store


class Conservation:
    """Rows in = rows out + quarantined, shard by shard, through stages added from upstream to downstream.

    What a shard reads is in the plan, not in its manifest: stages are planned again on the complete sets of their
    upstream stages, which needs no data set. A set made from other inputs (older ones, say) cannot be checked this way.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._walk = Walk()
        self._ok: dict[ShardRef, int] = {}
        self._lost: dict[ShardRef, int] = {}

    def add(self, stage: AnyStage, complete: CompleteSet) -> list[str]:
        """A line for each shard of the stage's newest set that lost images or made some up."""
        reads = bool(upstream_names(stage.params))
        planned = {shard.key: shard for shard in self._planned(stage, complete)} if stage.per_image and reads else {}
        shards = [planned.get(shard.key, shard) for shard in complete.shards]
        damage = []
        for (done, _), shard in zip(complete.entries, shards, strict=True):
            ref = ShardRef(stage.name, complete.recipe, shard.key)
            self._ok[ref] = done.ok
            if not stage.per_image:
                continue
            self._lost[ref] = max(0, (shard.rows or done.ok) - done.ok)
            expected = self._rows_in(shard) if shard.key in planned or not reads else None
            if expected is not None and done.ok + done.quarantined not in expected:
                said = f"{done.ok} out and {done.quarantined} quarantined"
                damage.append(f"shard {shard.key}: {expected[-1]} rows in, {said}")
        self._pass(stage, complete, shards)
        return damage

    def _planned(self, stage: AnyStage, complete: CompleteSet) -> list[Shard]:
        """The stage's shards, if its recipe on the complete sets upstream is that of this set."""
        if not self._walk.has_inputs_of(stage):
            return []
        recipe = self._walk.recipe(stage)
        return self._walk.plan(stage, recipe) if recipe.id == complete.recipe else []

    def _pass(self, stage: AnyStage, complete: CompleteSet, shards: list[Shard]) -> None:
        """Pass a stage; without its recipe that is not possible, and its downstream stages cannot be checked."""
        passed = self._walk.step_on_set(stage, complete, self._store)
        if passed is not None:
            self._walk.passed[stage.name] = replace(passed, shards=shards)

    def _rows_in(self, shard: Shard) -> range | None:
        """How many images the shard was given, at least and at most; None where that is unknown.

        Counts by split and class are of ingest: they include images that a stage in between quarantined, though some of
        those may belong to other shards.
        """
        refs = [ref for upstream in shard.inputs.values() for ref in upstream]
        if shard.rows_from is not None:
            rows = sum(self._ok[ref] for ref in shard.inputs[shard.rows_from])
            return range(rows, rows + 1)
        if shard.rows is None:
            return None
        return range(shard.rows - sum(self._lost.get(ref, 0) for ref in refs), shard.rows + 1)
