"""Whether images are lost or made up on their way from stage to stage."""

import json
from typing import Any

from pipeline.hashing import fingerprint
from pipeline.params import input_names
from pipeline.plan import recipe_of, recipe_path
from pipeline.stage import Shard, ShardRef, Stage, Upstream
from pipeline.store import Entries, Store


def read_ingredients(store: Store, stage: str, recipe: str) -> dict[str, Any] | None:
    """What a recipe was made of: {} where that was not kept, None where it is damaged."""
    path = recipe_path(stage, recipe)
    try:
        found: dict[str, Any] = json.loads(store.files.get_many([path]).get(path, b"{}"))
    except ValueError:
        return None
    return found


class Flow:
    """Rows in = rows out + quarantined, shard by shard, through stages added from above to below.

    What a shard reads stands in no manifest, but in the plan: stages are planned again on the complete sets of those
    above, which needs no data set. A set that was made of other inputs (older ones, say) cannot be judged so.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._above: dict[str, Upstream] = {}
        self._ok: dict[ShardRef, int] = {}
        self._lost: dict[ShardRef, int] = {}

    def add(self, stage: Stage, recipe: str, entries: Entries) -> list[str]:
        """A line for each shard of the stage's newest set that lost images or made some up."""
        reads = any(input_names(stage.params).values())
        planned = {shard.key: shard for shard in self._plan(stage, recipe)} if stage.per_image and reads else {}
        shards = [planned.get(shard.key, shard) for _, shard in entries]
        damage = []
        for (done, _), shard in zip(entries, shards, strict=True):
            ref = ShardRef(stage.name, recipe, shard.key)
            self._ok[ref] = done.ok
            if not stage.per_image:
                continue
            self._lost[ref] = max(0, (shard.rows or done.ok) - done.ok)
            expected = self._rows_in(shard) if shard.key in planned or not reads else None
            if expected is not None and done.ok + done.quarantined not in expected:
                said = f"{done.ok} out and {done.quarantined} quarantined"
                damage.append(f"{stage.name}: shard {shard.key}: {expected[-1]} rows in, {said}")
        ingredients = read_ingredients(self._store, stage.name, recipe) or {}
        self._above[stage.name] = Upstream(stage.name, stage.kind, recipe, shards, ingredients)
        return damage

    def _plan(self, stage: Stage, recipe: str) -> list[Shard]:
        """The stage's shards, if it is planned on what is complete above under the recipe that it has."""
        names = input_names(stage.params)
        if not {name for above in names.values() for name in above} <= self._above.keys():
            return []
        inputs = {slot: tuple(self._above[name] for name in above) for slot, above in names.items()}
        return stage.plan(recipe, inputs, self._store) if fingerprint(recipe_of(stage, inputs)) == recipe else []

    def _rows_in(self, shard: Shard) -> range | None:
        """How many images the shard was given, at least and at most; None where nothing says it.

        Counts that ingest made by split and class include what a stage in between quarantined, maybe of others.
        """
        refs = [ref for above in shard.inputs.values() for ref in above]
        if shard.rows_from is not None:
            rows = sum(self._ok[ref] for ref in shard.inputs[shard.rows_from])
            return range(rows, rows + 1)
        if shard.rows is None:
            return None
        return range(shard.rows - sum(self._lost.get(ref, 0) for ref in refs), shard.rows + 1)
