"""The command `verify`: whether a run root is sound, and what to do where it is not."""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import click

from jobs import output
from jobs.options import set_option, target_argument
from jobs.target import open_target, root_of
from pipeline.base.errors import StageFailed, UsageError
from pipeline.running.timeline import read_times
from pipeline.store import layout
from pipeline.store.run_records import live_runs
from pipeline.store.store import DamagedError, Store

if TYPE_CHECKING:
    from pipeline.upkeep.repair import Repair

_READERS = {layout.TIMELINE: read_times}
"""Path -> reader, of the objects that commands keep beside the stages."""


@click.command()
@target_argument
@set_option
@click.option(
    "--repair", is_flag=True, help="Show what would make it sound: bad objects move to damaged/, a run remakes them."
)
@click.option("--yes", is_flag=True, help="With --repair: do it.")
@click.option("--all", "everything", is_flag=True, help="With --repair --yes: do it even where it is refused.")
def verify(target: str, changes: tuple[str, ...], repair: bool, yes: bool, everything: bool) -> None:
    """Check every object and file of a run root: checksums, presence, rows, schema, unique ids.

    With --repair, say which of them would move to damaged/ so that the next run makes them again; with --yes, move
    them. Nothing is deleted. Trained models, many shards at once, and a root on which a run is at work need --all too.
    """
    from pipeline.upkeep.repair import carry_out, plan_repair
    from pipeline.upkeep.verify import verify as verify_store

    if (yes and not repair) or (everything and not yes):
        raise UsageError("verify: --yes belongs to --repair, and --all to --repair --yes")
    store, stages = _opened(target, changes)
    found = verify_store(store, stages, _READERS)
    for damage in found.damage:
        output.say(str(damage), err=True)
    click.echo(f"{found.stages} stages, {found.files} files, {found.rows} rows checked: {len(found.damage)} damaged")
    if not found.damage:
        return
    if not repair:
        click.echo("weakbox verify --repair shows what would make it sound", err=True)
        raise click.exceptions.Exit(1)
    planned = plan_repair(store, found.damage)
    refused = [*planned.refused, *_at_work(store)]
    acts = yes and (everything or not refused)
    for line in _lines(planned, acts):
        output.say(line)
    if acts:
        click.echo(f"moved to {store.files.root}/{carry_out(store, planned)}")
    elif yes:
        raise StageFailed(f"nothing was moved: {'; '.join(refused)}; --all does it all the same")
    else:
        click.echo("--yes does it" + (f", with --all only: {'; '.join(refused)}" if refused else ""))
    if planned.left or not acts:
        raise click.exceptions.Exit(1)


def _at_work(store: Store) -> list[str]:
    """Objections to a repair: the runs that may be writing to the root."""
    return [f"run {record.id} is at work, pid {record.process.pid} on {record.host}" for record in live_runs(store)]


def _lines(planned: "Repair", acts: bool) -> Iterator[str]:
    """What is done, or would be."""
    for path in planned.moves:
        yield f"{'moves' if acts else 'would move'} to damaged/: {path}"
    for path in planned.manifests:
        yield f"{'written' if acts else 'would be written'} from a set that holds it: {path}"
    for left in planned.left:
        yield f"left as it is, --force its stage: {left}"
    for stage, shards in sorted(planned.again.items()):
        yield f"the next run computes again: {shards} shards of {stage}"


def _opened(target: str, changes: tuple[str, ...]) -> tuple[Store, Collection[str]]:
    """The store, and the stages of its config; none where the objects that name them are damaged."""
    try:
        opened = open_target(target, changes)
    except DamagedError:
        return Store(root_of(target, changes)), ()
    return opened.store, opened.stages
