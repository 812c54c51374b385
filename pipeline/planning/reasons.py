"""Why a stage is to run: what changed since its newest complete set."""

from collections.abc import Mapping, Sequence
from itertools import chain

from pipeline.base.hashing import set_id
from pipeline.base.json_types import Json
from pipeline.store.records import Recipe, Shard
from pipeline.store.store import Store


def why_to_run(stage: str, recipe: Recipe, shards: Sequence[Shard], done: int, store: Store) -> str:
    """In words, why a stage with `done` of its shards committed is to run."""
    newest = store.newest(stage)
    if newest is None or newest[0] == recipe.id:
        if done:
            return f"{len(shards) - done} of {len(shards)} shards are missing"
        return "its inputs grew" if newest and newest[1] != set_id(s.key for s in shards) else "never completed"
    before = store.recipe(stage, newest[0])
    return "another recipe" if before is None else "; ".join(differences(before, recipe)) or "another recipe"


def differences(before: Recipe, now: Recipe) -> list[str]:
    """What tells two recipes apart, in words: kind, version, parameters, inputs, and what else is in them."""
    said = []
    if before.kind != now.kind:
        said.append(f"kind {before.kind} -> {now.kind}")
    if before.version != now.version:
        said.append(f"code version {before.version} -> {now.version}")
    old, new = before.params, now.params
    said += [f"{key}: {old.get(key)!r} -> {new.get(key)!r}" for key in _changed(old, new)]
    for slot in sorted({*before.inputs, *now.inputs}):
        was, is_ = (tuple(recipe.inputs.get(slot, ())) for recipe in (before, now))
        if was != is_:
            names = ", ".join(sorted({name for name, _ in set(is_) - set(was)})) or "removed"
            said.append(f"input {slot} changed ({names})")
    return [*said, *(f"{key} changed" for key in _changed(before.extra, now.extra))]


def _changed(old: Mapping[str, Json], new: Mapping[str, Json]) -> list[str]:
    keys = sorted(set(chain(old, new)))
    return [key for key in keys if (key in old) != (key in new) or old.get(key) != new.get(key)]
