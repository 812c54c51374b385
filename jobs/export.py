"""The command `export`: pseudo labels or predictions as a data set that other tools read."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
import structlog

from jobs import output
from jobs.options import set_option, target_argument
from jobs.results import NotRun, stage_of_kind, warn_of_other_data
from jobs.target import Target, open_target
from pipeline.base.errors import UsageError
from pipeline.base.params import input_names, input_tables
from pipeline.base.suggestions import nearest
from pipeline.config.run_config import make_stage
from pipeline.contract.stage import roots_of
from pipeline.planning.asked import AskedSets
from pipeline.store.records import CompleteSet, Done
from schemas.types import SPLITS
from stages import catalog
from stages.bases.export_choice import ExportChoice
from stages.formats.capabilities import FORMATS

if TYPE_CHECKING:
    from stages.formats.contract import Counts

_IMPORT = "import"
_TABLES = ("pseudo_labels", "predictions")
"""The tables that boxes of a stage may be in."""
_LOG = structlog.get_logger("weakbox.export")


@click.command()
@target_argument
@set_option
@click.option("--format", type=click.Choice(list(FORMATS)), help="Format of the data set; coco by default.")
@click.option("--labels", metavar="STAGE", help="Export the pseudo labels of this stage.")
@click.option("--predictions", metavar="STAGE", help="Export the predictions of this stage.")
@click.option("--out", required=True, metavar="FOLDER", help="Where the files go: an empty folder, or a URI.")
@click.option(
    "--images",
    "pictures",
    type=click.Choice(["reference", "copy", "link", "embed"]),
    help="Name pictures by their path, copy or link them beside the boxes, or embed them in the files.",
)
@click.option("--outlines", type=click.Choice(["rle", "polygon", "none"]), help="How masks are written.")
@click.option("--boxes", type=click.Choice(["all", "best"]), help="All boxes of an image, or the best alone.")
@click.option("--max-boxes", type=click.IntRange(1), metavar="K", help="At most K boxes an image, the best ones.")
@click.option("--min-score", type=float, metavar="S", help="Leave out boxes of a lower score.")
@click.option("--min-quality", type=float, metavar="Q", help="Of a consensus: leave out boxes of a lower quality.")
@click.option("--classes", multiple=True, metavar="NAME", help="Only boxes of this class; may be repeated.")
@click.option("--splits", multiple=True, type=click.Choice(SPLITS), help="Only this split; may be repeated.")
@click.option("--merge", type=click.Choice(["dev"]), help="Put the images of dev into train.")
@click.option("--keep-flagged", is_flag=True, help="Also boxes that are a fallback, such as the whole image.")
@click.option("--overwrite", is_flag=True, help="Replace the files of the export that is in FOLDER.")
def export(
    target: str,
    changes: tuple[str, ...],
    labels: str | None,
    predictions: str | None,
    out: str,
    merge: str | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Write pseudo labels or predictions as a data set that other tools read.

    If it is stopped, the same command goes on. Two exports never mix: FOLDER records which one it holds.
    """
    said = {name: value for name, value in options.items() if value is not None and value is not False and value != ()}
    said |= {"merge_dev": True} if merge else {}
    for name in export_chosen(open_target(target, changes), out, labels, predictions, said, overwrite=overwrite):
        output.say(f"{out.rstrip('/')}/{name}")


def export_chosen(
    target: Target,
    out: str,
    labels: str | None,
    predictions: str | None,
    said: Mapping[str, Any],
    *,
    overwrite: bool,
) -> list[str]:
    """Export the stage that the config's own export stage names, or a stage named here; returns the files.

    said: changed parameters of stage `export`. Raises: as `export_to`, and UsageError for what does not fit.
    """
    params = _params(target, labels, predictions, said)
    warn_of_other_data(target)
    named = input_names(params)
    (stage,), (listing,) = (*named["labels"], *named["predictions"]), named["images"]
    return export_to(target, stage, listing, params, out, overwrite=overwrite)[0]


def export_to(
    target: Target, stage: str, listing: str, choice: ExportChoice, out: str, *, overwrite: bool
) -> tuple[list[str], "Counts"]:
    """Export the boxes of a stage; returns the files made from all its parts, and the counts of the export.

    listing: the stage that lists the images. Raises: UsageError as `Exporting`, NotRun.
    """
    from jobs.exporting import Exporting, Source  # brings OpenCV along

    asked = AskedSets(target.stages, target.store)
    table = next(name for name in _TABLES if name in target.stages[stage].outputs)
    dones, images = _newest(target, asked, stage), _newest(target, asked, listing)
    source = Source(target.store, stage, table, dones, images, roots_of(target.stages))
    files, counts = Exporting(source, choice, out, overwrite=overwrite).write()
    for split in counts.images:
        _LOG.info("exported", split=split, images=counts.images[split], boxes=counts.boxes.get(split, 0))
    return files, counts


def _newest(target: Target, asked: AskedSets, name: str) -> list[Done]:
    """The shards of a stage as this config asks for it. Raises NotRun: boxes of old images fit no new ones."""
    complete = asked.of(name) or _of_same_images(target, asked, name)
    if complete is None:
        root = target.config.run_root
        raise NotRun(f"{root}: stage {name} was not run with this config on the data as listed last; run it first")
    return list(complete.dones.values())


def _of_same_images(target: Target, asked: AskedSets, name: str) -> CompleteSet | None:
    """The older set of an `import` stage whose files are gone or were rewritten, if it is of the present images."""
    older, read = asked.older(name), input_names(target.stages[name].params).get("images", ())
    listed = asked.of(read[0]) if len(read) == 1 else None
    if older is None or listed is None or target.stages[name].kind != _IMPORT:
        return None
    now = {shard.identity or shard.key for shard in listed.shards}
    then = {ref.identity or ref.key for shard in older.shards for ref in shard.inputs.get("images", ())}
    return older if then <= now else None


def _params(target: Target, labels: str | None, predictions: str | None, said: Mapping[str, Any]) -> ExportChoice:
    """The parameters of the config's export stage, or for the stage named in the command; with its other options.

    Raises: UsageError for a stage that is not there or gives no boxes, and for what the format cannot hold.
    """
    if labels is None and predictions is None:
        own = target.stages[stage_of_kind(target, "export")].params
    else:
        entry = {"labels": labels, "predictions": predictions}
        own = make_stage("export", "export", entry, catalog, target.config.images).params
    if not isinstance(own, ExportChoice):
        raise UsageError("the config's export stage is another package's")
    params = replace(own, **said)
    catalog.create("export", "export", params).check()
    tables = input_tables(type(params))
    for slot, sources in input_names(params).items():
        for source in sources:
            if source not in target.stages:
                raise UsageError(f"there is no stage {source!r}{nearest(source, target.stages)}")
            if tables[slot] not in target.stages[source].outputs:
                raise UsageError(f"stage {source!r} ({target.stages[source].kind}) gives no {tables[slot]}")
    return params
