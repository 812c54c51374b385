"""The commands `gc` and `retry-quarantine`: files that are no longer needed, and images that are worth another try."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import click

from jobs import output
from jobs.options import set_option, target_argument
from jobs.run_state import warn_of_live_runs
from jobs.target import open_target
from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from pipeline.base.suggestions import nearest
from pipeline.planning.plan import PlannedStage, Planner
from pipeline.planning.walk import check_inputs
from pipeline.running.progress import log_listings
from pipeline.store.records import Done
from pipeline.store.store import Store
from pipeline.upkeep import garbage
from pipeline.upkeep.dependents import Dependents, find_dependents, forget

_HOUR = 3600.0
_NAMED = 20
"""Images that are named for each reason; --json names all."""


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
    help="Leave alone files written in the last HOURS. 0 is safe only while nothing runs.",
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
    planned = check_inputs(opened.stages) if recipes else None
    found = garbage.find_garbage(opened.store, older_than * _HOUR, planned)
    for line in found.left_alone:
        output.say(f"weakbox: warning: {line}", err=True)
    if json_file:
        said: dict[str, Json] = {"removed": yes, "garbage": _paths(found.old), "young": _paths(found.young)}
        output.write_json(json_file, {**said, "left_alone": found.left_alone})
    elif found.old:
        output.table(("stage", "what", "files", "size"), _sums(found.old))
    if yes:
        if recipes or not older_than:
            warn_of_live_runs(opened.store)
        garbage.remove(opened.store, found.old)
    if not json_file:
        what = f"{_sum(found.old)}{' removed' if yes else ': --yes removes them'}" if found.old else "nothing to remove"
        click.echo(what + (f"; {_sum(found.young)} written in the last {older_than:g} h stay" if found.young else ""))


@click.command("retry-quarantine")
@target_argument
@set_option
@click.option("--stage", "only", multiple=True, metavar="STAGE", help="Only images that this stage quarantined.")
@click.option("--yes", is_flag=True, help="Forget those shards, so that the next run computes them again.")
@click.option("--json", "json_file", metavar="FILE", help="Write every image with its reason as JSON; - is stdout.")
def retry_quarantine(
    target: str, changes: tuple[str, ...], only: tuple[str, ...], yes: bool, json_file: str | None
) -> None:
    """List quarantined images and all that was made without them; with --yes, make the next run try again.

    For images that were repaired in place. Not while a run is at work: it would commit what it read before.
    """
    opened = open_target(target, changes)
    for name in only:
        if name not in opened.stages:
            raise UsageError(f"there is no stage {name!r}{nearest(name, opened.stages)}")
    planner = Planner(opened.store)
    planned = planner.plan_all(opened.stages)
    log_listings(planner.listings)
    refused = {name: _refused(planned[name].done.values()) for name in only or planned}
    refused = {name: dones for name, dones in refused.items() if dones}
    dependents = find_dependents(
        opened.store, planned, {name: {done.key for done in dones} for name, dones in refused.items()}
    )
    images = {name: _images(opened.store, dones) for name, dones in refused.items()}
    lines = (*_planned_anew(opened.store, planned, only), *_kept(planned, dependents))
    if yes:
        warn_of_live_runs(opened.store)
        forget(opened.store, dependents)
    if json_file:
        rows = [{"stage": name, **image} for name, found in images.items() for image in found]
        output.write_json(json_file, {"forgotten": yes, "images": rows, "notes": lines})
        return
    if refused:
        counts = [(name, len(refused[name]), len(found), _counted(found)) for name, found in images.items()]
        output.table(("stage", "shards", "images", "why"), counts)
        click.echo()
        for line in (line for name, found in images.items() for line in _named(name, found)):
            output.say(line)
        click.echo()
        output.table(("to be computed again", "shards"), [(each.title, each.done) for each in dependents if each.done])
    for line in lines:
        output.say(line)
    waiting = sum(len(stage.missing) for stage in planned.values())
    if refused and not yes:
        click.echo("--yes forgets these shards, so that the next run computes them again")
    elif refused or waiting:
        click.echo(shlex.join(["weakbox", "run", target, *(word for change in changes for word in ("--set", change))]))
    else:
        click.echo("no image is quarantined")


def _refused(dones: Iterable[Done]) -> list[Done]:
    return [done for done in dones if done.quarantined]


def _images(store: Store, dones: Sequence[Done]) -> list[dict[str, str]]:
    """The quarantined images of these shards: image_id and reason."""
    return [row for done in dones for row in store.table(done, "quarantine", ["image_id", "reason"]).to_pylist()]


def _counted(images: Sequence[Mapping[str, str]]) -> str:
    """Each reason with its number of images."""
    reasons = Counter(image["reason"] for image in images)
    return ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common())


def _named(stage: str, images: Sequence[Mapping[str, str]]) -> list[str]:
    """The images of a stage, reason by reason; of many the first in the order of their names."""
    lines = []
    for reason, _ in Counter(image["reason"] for image in images).most_common():
        names = sorted(image["image_id"] for image in images if image["reason"] == reason)
        rest = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
        lines += [f"{stage}: {reason}:", *(f"  {name}" for name in [*names[:_NAMED], *rest])]
    return lines


def _planned_anew(store: Store, planned: Mapping[str, PlannedStage], only: Sequence[str]) -> list[str]:
    """Images refused by shards that are no longer planned: their files, or what they read, changed since."""
    lines = []
    for name in only or planned:
        complete, keys = store.newest_set(name), set(planned[name].keys)
        dones = complete.dones if complete else {}
        gone = _refused(done for key, done in dones.items() if key not in keys)
        if gone:
            images = sum(done.quarantined for done in gone)
            lines.append(f"{name}: {images} more quarantined, in shards that the next run plans anew by itself")
    return lines


def _kept(planned: Mapping[str, PlannedStage], dependents: Sequence[Dependents]) -> list[str]:
    """A line for each stage that reads a dependent and is kept nevertheless."""
    gone = {(each.stage, key) for each in dependents if each.planned for key in each.keys}
    lines = []
    for name, stage in planned.items():
        kept = (shard for shard in stage.shards if (name, shard.key) not in gone and shard.key in stage.done)
        if any((ref.stage, ref.key) in gone for shard in kept for refs in shard.inputs.values() for ref in refs):
            lines.append(f"{name} read some of them and is kept, as its parameters say; --force {name} remakes it")
    return lines


def _paths(found: Iterable[garbage.Garbage]) -> list[dict[str, Json]]:
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
