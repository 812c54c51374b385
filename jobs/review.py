"""The command `review`: which pictures a person should look at, and what they need to draw boxes on some."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from jobs import output, run_tables
from jobs.label_request import recall
from jobs.options import set_option, target_argument
from jobs.target import Target, open_target
from pipeline.base.errors import UsageError
from pipeline.base.hashing import seed_from

if TYPE_CHECKING:
    from jobs.review_files import Drawn
    from stages.vision.image_rows import ImageRow

_QUALITIES = "qualities"
_SHOWN = 20
_DEV, _TRAIN = "dev", "train"

Row = Mapping[str, Any]


@click.command()
@target_argument
@set_option
@click.option(
    "--sample", type=click.IntRange(1, 10_000), metavar="N", help="Choose N pictures at random to draw boxes on."
)
@click.option("--out", default="review", show_default=True, metavar="FOLDER", help="Where page and files for them go.")
def review(target: str, changes: tuple[str, ...], sample: int | None, out: str) -> None:
    """Show the boxes of the lowest quality, or choose pictures at random for a person to draw boxes on.

    With --sample: a page to draw on (review.html), a CSV to fill (review.csv) and tasks for Label Studio. With
    `--set dataset.reviewed=review/review.csv` a run takes the boxes as ground truth of dev: numbers, thresholds and
    qualities follow from them. Pictures come from dev; where it has too few, others move from train to dev.
    """
    opened = open_target(target, changes)
    if sample is None:
        _show_lowest(opened)
        return
    folder = Path(out)
    if taken := [name for name in ("review.html", "review.csv", "labelstudio.json") if (folder / name).exists()]:
        raise UsageError(f"{folder / taken[0]} is there already: give another folder by --out, nothing is overwritten")
    pictures = list(_drawn(opened, sample))
    if not pictures:
        raise UsageError(f"{opened.config.run_root}: every picture of dev and train has a true box")
    from jobs.review_files import files_of  # brings OpenCV along

    title = f"weakbox: boxes of {len(pictures)} pictures"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files_of(pictures, title).items():
        (folder / name).write_bytes(content)
    csv = folder / "review.csv"
    output.say(f"{folder / 'review.html'}: open it in a browser and draw; put the review.csv that it saves over {csv}")
    asked = None if changes or Path(target).is_file() else recall(opened.store)
    again = f"weakbox run {target} --set dataset.reviewed={csv.absolute()}"
    output.say(f"then: {again if asked is None else asked.command(str(csv.absolute()))}")
    output.say("your boxes measure the others and choose among them; a data set is made of the others alone")


def _show_lowest(target: Target) -> None:
    """The boxes of the lowest quality, and why. Raises UsageError without qualities."""
    rows = _rows(target, _QUALITIES, ("image_id", "source", "quality", "agreement", "area", "flag"))
    known = sorted(
        (row for row in rows if row["quality"] is not None), key=lambda row: (row["quality"], row["image_id"])
    )
    flagged = sorted((row for row in rows if row["flag"] is not None), key=lambda row: (row["flag"], row["image_id"]))
    if not known and not flagged:
        output.say("no box is flagged")
    if not known:
        output.say("no quality is known: boxes of thirty pictures give one: weakbox review TARGET --sample 40")
    chosen = [*known[:_SHOWN], *(row for row in flagged[:_SHOWN] if row not in known[:_SHOWN])]
    names = ("image_id", "source", "quality", "agreement", "area", "flag")
    if chosen:
        output.table(names, [[output.short(row[name]) for name in names] for row in chosen])


def _drawn(target: Target, sample: int) -> Iterator["Drawn"]:
    """Pictures at random, in the order of a hash of their ids: a larger sample contains a smaller one."""
    from jobs.review_files import Drawn
    from stages.vision.image_rows import IMAGE_COLUMNS

    boxed = {row["image_id"] for row in _rows(target, "truth", ("image_id", "boxes")) if row["boxes"]}
    images = cast("list[ImageRow]", _rows(target, "images", IMAGE_COLUMNS))
    order = sorted(images, key=lambda row: (row["split"] != _DEV, seed_from("review", row["image_id"])))
    asked = [row for row in order if row["split"] in (_DEV, _TRAIN) and row["image_id"] not in boxed]
    for row in asked[:sample]:
        yield Drawn(row["image_id"], row["label_name"], run_tables.pixels(target, row))


def _rows(target: Target, table: str, columns: tuple[str, ...]) -> list[Row]:
    """The rows of a table of all stages that give it, as this config asks for them. Raises UsageError without one."""
    names = [target.config.images] if table == "images" else run_tables.stages_with(target, table)
    if not names:
        raise UsageError(f"the config has no stage that gives {table}: add `quality: {{labels: [...]}}`")
    return [row for name in names for row in run_tables.table(target, name, table, columns).to_pylist()]
