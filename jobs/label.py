"""The command `label`: from a folder of labeled pictures to a data set that one can train on, in one go."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import click
import structlog

from jobs import output, recorded, results
from jobs.export import export_to
from jobs.export_folder import check_folder
from jobs.label_config import CONSENSUS, Lying, stages_of
from jobs.label_request import BACKBONE, LabelRequest, recall, remember
from jobs.label_summary import how_good, verdict_line
from jobs.target import Target, open_config, open_store
from jobs.verdict import check_strict
from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from pipeline.config.places import absolute
from pipeline.config.run_config import parse_config
from pipeline.contract.stage import SourceStage
from pipeline.planning.asked import AskedSets
from pipeline.planning.walk import check_inputs
from pipeline.store.files import open_filesystem
from stages import catalog
from stages.bases.export_choice import ExportChoice
from stages.bases.splits import BOXED
from stages.formats.capabilities import FORMATS, Format, Pictures
from stages.formats.file_names import may_be_image

_LOG = structlog.get_logger("weakbox.label")

_TIMM = "timm:"
_WEIGHTS = "package:efficientnet_lite0"
_COLUMNS = ("image_id", "boxes", "flag", "quality")
_CORNERS = ("x0", "y0", "x1", "y1")
_REST = "review.csv"
"""In the run root."""
_SECONDS = 0.05
"""Of one pass of the network over a picture, on one core."""

Row = Mapping[str, Any]


@click.command()
@click.argument("root")
@click.option("--out", required=True, metavar="FOLDER", help="Where the data set goes: an empty folder.")
@click.option("--format", type=click.Choice(list(FORMATS)), default="coco", show_default=True)
@click.option("--network", default=BACKBONE, show_default=True, help="The network whose features are used.")
@click.option("--weights", help="Its weights, as in stage classify; the default network and those of timm have some.")
@click.option(
    "--keep",
    type=click.FloatRange(0, 1),
    default=0.8,
    show_default=True,
    help="The share of boxes that is kept, the best first; all, where quality is not known.",
)
@click.option(
    "--reviewed",
    metavar="CSV",
    help="Boxes that you drew, see weakbox review: they measure and choose, and are not exported.",
)
@click.option(
    "--run-root", metavar="FOLDER", help="Where the work is kept; by default FOLDER of --out with -run appended."
)
@click.option("--ray", is_flag=True, help="Run on Ray, with all cores; without it in this process.")
@click.option("--overwrite", is_flag=True, help="Replace the data set that is in FOLDER.")
@click.option("--strict", is_flag=True, help="Exit with 1 where the labels carry no information.")
def label(
    root: str,
    out: str,
    format: Format,
    network: str,
    weights: str | None,
    keep: float,
    reviewed: str | None,
    run_root: str | None,
    ray: bool,
    overwrite: bool,
    strict: bool,
) -> None:
    """Make boxes for the pictures in ROOT, one sub-folder a class or one class alone, and a data set of them.

    If it is stopped, the same command goes on. Ends with five lines: what there is, how good, and where it is.
    """
    said = LabelRequest(root, out, format, network, weights, keep, reviewed, run_root, ray, overwrite)
    target, lines = make_labels(said)
    for line in lines:
        output.say(line)
    if strict:
        check_strict(target)


def make_labels(asked: LabelRequest) -> tuple[Target, list[str]]:
    """Make the boxes and the data set; returns the run and five lines that say what there is. Raises UsageError."""
    dataset, work, placed = _dataset(asked.root, asked.reviewed), asked.work, asked.placed
    before = recall(open_store(work))
    other = before is not None and placed.gives_other_boxes(before)
    check_folder(asked.out, asked.format, other=other, overwrite=asked.overwrite)
    lying = _lying({"run_root": work, "dataset": dataset})
    stages = stages_of(lying, asked.network, asked.weights or _weights(asked.network))
    target = open_config({"run_root": work, "dataset": dataset, "stages": stages})
    _announce(lying, asked, before)
    recorded.execute(target, asked.root, in_process=not asked.ray, max_quarantined=1.0)
    remember(target.store, placed)
    page = results.publish_report(target)
    rows = _rows(target)
    least = _least(rows, asked.keep)
    pictures: Pictures = "copy" if "copy" in FORMATS[asked.format].pictures else "embed"
    choice = ExportChoice(format=asked.format, pictures=pictures, merge_dev=True, min_quality=least)
    rest, kept = [row for row in rows if not _is_kept(row, least)], 0
    if len(rest) < len(rows):
        _, counts = export_to(target, CONSENSUS, target.config.images, choice, asked.out, overwrite=asked.overwrite)
        kept = sum(counts.images.values())
    place = _write_rest(target, rest)
    expected = [row["quality"] for row in rows if _is_kept(row, least) and row["quality"] is not None]
    there = (
        f"{kept} with boxes in {asked.out} ({asked.format})" if kept else "no box is worth keeping, nothing was written"
    )
    return target, [
        f"{sum(lying.images.values())} pictures of {_number(len(lying.classes), 'class', 'classes')}: {there}",
        f"not kept: {len(rest)}{f', listed in {place}' if rest else ''}{_unread(lying, rows, target)}",
        how_good(target, CONSENSUS, fmean(expected) if expected else None),
        verdict_line(target),
        f"look at them: {page}",
    ]


def _weights(network: str) -> str:
    """The published weights of a network. Raises UsageError for one of which several are published."""
    if network == BACKBONE:
        return _WEIGHTS
    if network.startswith(_TIMM):
        return network
    raise UsageError(f"--network {network}: say by --weights which of its weights are taken")


def _dataset(root: str, reviewed: str | None) -> dict[str, Json]:
    """`dataset:` of the config, for any layout; pictures that are in no sub-folder are one class."""
    fs, path = open_filesystem(root)
    if may_be_image(path) and fs.isfile(path):
        raise UsageError(f"{root} is a picture: give the folder that holds all of them")
    try:
        entries = fs.ls(path, detail=True)
    except OSError as error:
        raise UsageError(f"{root}: {error.strerror or error}") from error
    folders = [entry for entry in entries if entry["type"] == "directory"]
    flat = not folders and any(may_be_image(entry["name"]) for entry in entries)
    how: dict[str, Json] = {"reader": "folder", "one_class": True} if flat else {"reader": "auto"}
    return {**how, "root": root, **({"reviewed": absolute(reviewed)} if reviewed else {})}


def _lying(config: Mapping[str, Json]) -> Lying:
    """List the data set. Raises UsageError."""
    stages = parse_config(config).stage_objects(catalog)
    name, source = next((name, stage) for name, stage in stages.items() if isinstance(stage, SourceStage))
    if source.is_absent():
        source.provide()
    store = open_store(str(config["run_root"]))
    images, boxed, classes = Counter[str](), Counter[str](), set[str]()
    for shard in source.list_shards(check_inputs(stages)[name].id, store, payloads=False):
        for split, counts in shard.labels.items():
            images[split] += sum(counts.values())
            classes |= set(counts)
        said = shard.args.get(BOXED)
        boxed.update(said if isinstance(said, dict) else {})
    return Lying(images, sorted(classes), boxed)


def _rows(target: Target) -> list[Row]:
    """The consensus of each image."""
    asked = AskedSets(target.stages, target.store)
    dones = results.dones_asked(target, asked, CONSENSUS)
    return [row for done in dones for row in target.store.table(done, "pseudo_labels", _COLUMNS).to_pylist()]


def _least(rows: Sequence[Row], keep: float) -> float | None:
    """The lowest quality among the share `keep` of the boxes; None: no quality is known."""
    known = sorted((row["quality"] for row in rows if row["quality"] is not None and row["flag"] is None), reverse=True)
    return known[max(0, round(keep * len(known)) - 1)] if known else None


def _is_kept(row: Row, least: float | None) -> bool:
    if row["flag"] is not None or not row["boxes"]:
        return False
    return least is None or (row["quality"] is not None and row["quality"] >= least)


def _write_rest(target: Target, rest: Sequence[Row]) -> str:
    """Write a CSV of the boxes not kept, the worst first; returns its place. Stage import reads a corrected copy."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image_id", *_CORNERS, "quality", "why"))
    for row in sorted(rest, key=lambda row: (row["quality"] is None, row["quality"] or 0.0, row["image_id"])):
        corners = [f"{row['boxes'][0][name]:.1f}" for name in _CORNERS] if row["boxes"] else [""] * 4
        quality = "" if row["quality"] is None else f"{row['quality']:.3f}"
        writer.writerow(
            (row["image_id"], *corners, quality, row["flag"] or ("low quality" if row["boxes"] else "no box"))
        )
    target.store.files.put(_REST, text.getvalue().encode())
    return f"{target.store.files.root}/{_REST}"


def _unread(lying: Lying, rows: Sequence[Row], target: Target) -> str:
    """What to say of pictures that could not be used."""
    unread = sum(lying.images.values()) - len({row["image_id"] for row in rows})
    root = target.config.run_root
    return f"; {unread} could not be read: weakbox retry-quarantine {root} lists them" if unread else ""


def _announce(lying: Lying, asked: LabelRequest, before: LabelRequest | None) -> None:
    """Log the steps to come, about how long they take, and boxes that were drawn before and are not named now."""
    pictures, classes = sum(lying.images.values()), len(lying.classes)
    passes = 2 if classes == 1 else 4
    minutes = pictures * passes * _SECONDS / 60
    _LOG.info(
        "label: features, boxes, their quality, a report, then the data set",
        pictures=pictures,
        classes=classes,
        about_minutes=round(minutes, 1),
        work=asked.work,
    )
    if before is not None and before.reviewed and not asked.reviewed:
        _LOG.warning("boxes drawn before are left out: take them by --reviewed", reviewed=before.reviewed)


def _number(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
