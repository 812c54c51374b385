"""The commands `gc` and `retry-quarantine`: what is needed no more, and what is worth another try."""

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import click

from jobs import output
from jobs.target import open_target
from pipeline import gc as garbage
from pipeline.errors import UsageError
from pipeline.params import input_names
from pipeline.plan import PlannedStage, make_plan, nearest, recipe_path
from pipeline.stage import Done, Upstream
from pipeline.store import DamagedError, Store

_HOUR = 3600.0

target_argument = click.argument("target")
set_option = click.option("--set", "changes", multiple=True, metavar="A.B=VALUE", help="Change one key of the config.")


@click.command()
@target_argument
@set_option
@click.option("--yes", is_flag=True, help="Remove what is listed.")
@click.option(
    "--older-than",
    default=24.0,
    show_default=True,
    metavar="HOURS",
    type=click.FloatRange(min=0),
    help="Leave alone what was written since. 0 is safe only while nothing runs.",
)
@click.option(
    "--recipes",
    is_flag=True,
    help="Also whole results of old parameters: recipes that are neither their stage's newest nor this config's."
    " Not while another config runs on the same root.",
)
@click.option("--json", "json_file", metavar="FILE", help="Write what was found, path by path, as JSON; - is stdout.")
def gc(
    target: str, changes: tuple[str, ...], yes: bool, older_than: float, recipes: bool, json_file: str | None
) -> None:
    """List the files of a run root that no result needs; with --yes, remove them. A run may be at work meanwhile.

    They are what killed and losing attempts left, what --force and retry-quarantine forgot, and what finished trainings
    no longer need.
    """
    opened = open_target(target, changes)
    planned = garbage.planned_recipes(opened.stages) if recipes else None
    found = garbage.find_garbage(opened.store, older_than * _HOUR, planned)
    for line in found.left_alone:
        click.echo(f"weakbox: warning: {line}", err=True)
    if json_file:
        said = {"removed": yes, "garbage": _paths(found.old), "young": _paths(found.young)}
        output.write_json(json_file, {**said, "left_alone": found.left_alone})
    elif found.old:
        output.table(("stage", "what", "files", "size"), _sums(found.old))
    if yes:
        garbage.remove(opened.store, found.old)
    if not json_file:
        what = f"{_sum(found.old)}{' removed' if yes else ': --yes removes them'}" if found.old else "nothing to remove"
        click.echo(what + (f"; {_sum(found.young)} written in the last {older_than:g} h stay" if found.young else ""))


@click.command("retry-quarantine")
@target_argument
@set_option
@click.option("--stage", "only", multiple=True, metavar="STAGE", help="Only images that this stage quarantined.")
@click.option("--yes", is_flag=True, help="Forget those shards, so that the next run computes them again.")
def retry_quarantine(target: str, changes: tuple[str, ...], only: tuple[str, ...], yes: bool) -> None:
    """List quarantined images and all that was made without them; with --yes, make the next run try again.

    For images that were mended where they lie. Not while a run is at work: it would commit what it read before.
    """
    opened = open_target(target, changes)
    for name in only:
        if name not in opened.stages:
            raise UsageError(f"there is no stage {name!r}{nearest(name, opened.stages)}")
    planned = make_plan(opened.stages, opened.store)
    refused = {name: _refused(planned[name].done.values()) for name in only or planned}
    refused = {name: dones for name, dones in refused.items() if dones}
    stale = find_stale(opened.store, planned, {name: {done.key for done in dones} for name, dones in refused.items()})
    if refused:
        rows = [(name, len(dones), *_reasons(opened.store, dones)) for name, dones in refused.items()]
        output.table(("stage", "shards", "images", "why"), rows)
        click.echo()
        output.table(("to be computed again", "shards"), [(each.title, each.done) for each in stale if each.done])
    for line in (*_planned_anew(opened.store, planned, only), *_kept(planned, stale)):
        click.echo(line)
    if yes:
        forget(opened.store, stale)
    waiting = sum(len(stage.missing) for stage in planned.values())
    if refused and not yes:
        click.echo("--yes forgets these shards, so that the next run computes them again")
    elif refused or waiting:
        click.echo(shlex.join(["weakbox", "run", target, *(word for change in changes for word in ("--set", change))]))
    else:
        click.echo("no image is quarantined")


@dataclass(frozen=True)
class Stale:
    """Shards of one recipe that are to be computed again; `done` of them are complete."""

    stage: str
    recipe: str
    keys: frozenset[str]
    done: int
    planned: bool = True

    @property
    def title(self) -> str:
        """Its name in a table."""
        return self.stage if self.planned else f"{self.stage}, which the config does not plan (recipe {self.recipe})"


def find_stale(store: Store, planned: Mapping[str, PlannedStage], retried: Mapping[str, set[str]]) -> list[Stale]:
    """The shards to be tried again and all that hangs on them, from below to above.

    Keys are made of keys, so the plan itself says what hangs on a shard: what gets another key when the shard does. A
    result that is declared not to follow its inputs (`refit: never`) keeps its key, and stays.
    """
    above: dict[str, Upstream] = {}
    found: list[Stale] = []
    for name, stage in planned.items():
        names = input_names(stage.stage.params)
        inputs = {slot: tuple(above[source] for source in sources) for slot, sources in names.items()}
        touched = {each.stage for each in found} & {source for sources in names.values() for source in sources}
        shards = stage.stage.plan(stage.recipe, inputs, store) if touched else stage.shards
        own = retried.get(name, set())
        renamed = [replace(shard, key=f"{shard.key}-again") if shard.key in own else shard for shard in shards]
        above[name] = replace(stage.upstream, shards=renamed)
        keys = frozenset(stage.keys) - {shard.key for shard in renamed}
        if keys:
            found.append(Stale(name, stage.recipe, keys, len(keys & stage.done.keys())))
    return [*_unplanned(store, planned, found), *reversed(found)]


def forget(store: Store, stale: Iterable[Stale]) -> None:
    """Forget them, from below to above: cut off at any moment, the quarantined rows still lead to what is left."""
    for each in stale:
        store.forget(each.stage, each.recipe, sorted(each.keys))


def _unplanned(store: Store, planned: Mapping[str, PlannedStage], stale: Sequence[Stale]) -> list[Stale]:
    """Recipes outside this config that read a stale one, as a whole: which of their shards did stands nowhere.

    An export made by the command is one; results of other parameters are others, and a run may come back to them.
    """
    ours = {(name, stage.recipe) for name, stage in planned.items()}
    reads = {node: above for node, above in _readers(store).items() if node not in ours}
    found = {(each.stage, each.recipe) for each in stale}
    while new := {node for node, above in reads.items() if above & found} - found:
        found |= new
    nodes = sorted(found - {(each.stage, each.recipe) for each in stale})
    dones = {node: store.manifests(*node) for node in nodes}
    trainings = {node: store.files.names("/".join((*node, "train"))) for node in nodes}
    return [Stale(*node, frozenset({*dones[node], *trainings[node]}), len(dones[node]), False) for node in nodes]


def _readers(store: Store) -> dict[tuple[str, str], set[tuple[str, str]]]:
    """(stage, recipe) -> what it reads, of all recipes that a run ever began."""
    stages = {stage: store.files.names(stage) for stage in store.files.names("")}
    paths = {recipe_path(stage, name): (stage, name) for stage, names in stages.items() for name in names}
    found = store.files.get_many([path for path, (_, name) in paths.items() if "." not in name])
    return {paths[path]: _inputs(path, data) for path, data in found.items()}


def _inputs(path: str, data: bytes) -> set[tuple[str, str]]:
    try:
        return {(name, recipe) for ups in json.loads(data)["inputs"].values() for name, recipe in ups}
    except (ValueError, KeyError) as error:
        raise DamagedError(f"{path} is damaged: what hangs on the quarantined images cannot be known") from error


def _refused(dones: Iterable[Done]) -> list[Done]:
    return [done for done in dones if done.quarantined]


def _reasons(store: Store, dones: Sequence[Done]) -> tuple[int, str]:
    """How many images, and how often each reason."""
    tables = [store.table(done, "quarantine", ["reason"]) for done in dones]
    reasons = Counter(reason for table in tables for reason in table.column("reason").to_pylist())
    return reasons.total(), ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common())


def _planned_anew(store: Store, planned: Mapping[str, PlannedStage], only: Sequence[str]) -> list[str]:
    """Images refused by shards that are no longer planned: their files, or what they read, changed since."""
    lines = []
    for name in only or planned:
        newest = store.newest(name)
        complete = (store.complete_set(name, *newest) if newest else None) or {}
        gone = _refused(done for key, done in complete.items() if key not in planned[name].keys)
        if gone:
            images = sum(done.quarantined for done in gone)
            lines.append(f"{name}: {images} more quarantined, in shards that the next run plans anew by itself")
    return lines


def _kept(planned: Mapping[str, PlannedStage], stale: Sequence[Stale]) -> list[str]:
    """Stages that read something stale and stay all the same."""
    gone = {(each.stage, key) for each in stale if each.planned for key in each.keys}
    lines = []
    for name, stage in planned.items():
        kept = (shard for shard in stage.shards if (name, shard.key) not in gone and shard.key in stage.done)
        if any((ref.stage, ref.key) in gone for shard in kept for refs in shard.inputs.values() for ref in refs):
            lines.append(f"{name} read some of them and is kept, as its parameters say; --force {name} remakes it")
    return lines


def _paths(found: Iterable[garbage.Garbage]) -> list[dict[str, Any]]:
    return [
        {
            "stage": each.stage,
            "recipe": each.recipe,
            "what": each.reason,
            "files": len(each.files),
            "bytes": each.bytes,
            "paths": [file.path for file in each.files],
        }
        for each in found
    ]


def _sums(found: Iterable[garbage.Garbage]) -> list[tuple[str, str, int, str]]:
    """One row for each stage and reason."""
    files: Counter[tuple[str, str]] = Counter()
    size: Counter[tuple[str, str]] = Counter()
    for each in found:
        files[each.stage, each.reason] += len(each.files)
        size[each.stage, each.reason] += each.bytes
    return [(*name, count, _size(size[name])) for name, count in files.items()]


def _sum(found: Sequence[garbage.Garbage]) -> str:
    return f"{sum(len(each.files) for each in found)} files, {_size(sum(each.bytes for each in found))}"


def _size(size: float) -> str:
    """Bytes for people."""
    if size < 1000:
        return f"{size:.0f} B"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 1000:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} TB"
