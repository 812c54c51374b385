"""Why a stage is to run: what changed since its newest complete set."""

from collections.abc import Mapping, Sequence
from itertools import chain

from pipeline.base.hashing import set_id
from pipeline.base.json_types import Json
from pipeline.store.records import CompleteSet, Recipe, Shard
from pipeline.store.store import Store


def why_to_run(stage: str, recipe: Recipe, shards: Sequence[Shard], done: int, store: Store) -> str:
    """In words, why a stage with `done` of its shards committed is to run."""
    newest = store.newest_set(stage)
    if newest is None or (newest.recipe == recipe.id and newest.name == set_id(shard.key for shard in shards)):
        return f"{len(shards) - done} of {len(shards)} shards are missing" if done else "never completed"
    if newest.recipe == recipe.id:
        return f"{_what_changed(newest, shards)}{_share(len(shards) - done, len(shards))}"
    before = store.recipe(stage, newest.recipe)
    return "another recipe" if before is None else "; ".join(differences(before, recipe)) or "another recipe"


def _what_changed(before: CompleteSet, shards: Sequence[Shard]) -> str:
    """How the shards of a recipe differ from those of its newest set: by inputs, arguments, or the data set."""
    was, now = _read(before.shards), _read(shards)
    changed = [slot for slot in sorted(was) if was[slot] != now.get(slot)]
    if changed:
        return f"input {', '.join(changed)} changed"
    old = {str(value) for shard in before.shards for value in shard.args.items()}
    names = sorted({name for shard in shards for name, value in shard.args.items() if str((name, value)) not in old})
    return f"{', '.join(names) if now and names else 'the data set'} changed"


def _share(missing: int, shards: int) -> str:
    return f" ({missing} of {shards} shards)" if shards > 1 else ""


def _read(shards: Sequence[Shard]) -> dict[str, set[str]]:
    """Input slot -> identities or keys of the shards read there."""
    found: dict[str, set[str]] = {}
    for shard in shards:
        for slot, refs in shard.inputs.items():
            found.setdefault(slot, set()).update(ref.identity or ref.key for ref in refs)
    return found


def differences(before: Recipe, now: Recipe) -> list[str]:
    """How two recipes differ, in words: by kind, version, parameters, inputs, and what else is in them."""
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
