"""The commands `score` and `baselines`: scores of other programs' results and trivial predictors. They need no run."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from jobs import output
from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from pipeline.running.progress import make_progress
from stages.scoring.protocols import PROTOCOLS

_EXISTING = click.Path(path_type=Path)

metadata_option = click.option(
    "--metadata",
    required=True,
    metavar="DIR",
    type=_EXISTING,
    help="Split folder of wsolevaluation's metadata, .../ILSVRC/test: image_ids.txt, image_sizes.txt and so on.",
)


@click.command()
@metadata_option
@click.option("--json", "json_file", metavar="FILE", help="Write the rows as JSON; - is stdout.")
def baselines(metadata: Path, json_file: str | None) -> None:
    """Show what trivial predictors score on a data set under each protocol. Needs no image and no run."""
    from stages.scoring.foreign.metadata_folder import read_boxes
    from stages.scoring.metadata import baselines as compute

    _check_writable(json_file)
    with _one_line():
        rows = [row._asdict() for row in compute(read_boxes(metadata))]
    if json_file:
        output.write_json(json_file, rows)
        return
    output.table(
        ("predictor", "protocol", "iou", "value"), [[*list(row.values())[:3], f"{row['value']:.2f}"] for row in rows]
    )


@click.command()
@metadata_option
@click.option("--maps", metavar="DIR", type=_EXISTING, help="Score maps, DIR/<image_id>.npy, floating.")
@click.option("--boxes", metavar="FILE", type=_EXISTING, help="Boxes, CSV or Parquet: image_id,x0,y0,x1,y1[,score].")
@click.option("--classes", metavar="FILE", type=_EXISTING, help="Classes, CSV or Parquet: image_id,class1,...,class5.")
@click.option("--masks", metavar="DIR", type=_EXISTING, help="Ground-truth masks (PNG), for PxAP and Peak-IoU.")
@click.option(
    "--protocol",
    type=click.Choice(tuple(PROTOCOLS)),
    help="How boxes are compared; by default wsolevaluation for maps and original for boxes.",
)
@click.option(
    "--threshold", type=click.FloatRange(0, 1, max_open=True), help="Score maps at this threshold, not at the best one."
)
@click.option("--method", metavar="NAME", help="Name in the rows; by default that of the folder or file.")
@click.option("--json", "json_file", metavar="FILE", help="Write all rows as JSON; - is stdout.")
def score(
    metadata: Path,
    maps: Path | None,
    boxes: Path | None,
    classes: Path | None,
    masks: Path | None,
    protocol: str | None,
    threshold: float | None,
    method: str | None,
    json_file: str | None,
) -> None:
    """Score the boxes or score maps of any other program against a metadata folder.

    Maps are (height, width), floating: 224 x 224 in [0, 1], as wsolevaluation writes them; or of the image's own size;
    or all of one feature grid. The last two are enlarged or shrunk, then min-maxed. Boxes are half-open, in pixels of
    the original image; if an image has several, the one with the highest score counts.
    """
    source = maps or boxes
    if source is None or (maps is not None and boxes is not None):
        raise UsageError("score: give either --maps or --boxes")
    if boxes is not None and (masks is not None or threshold is not None):
        raise UsageError("score: --masks and --threshold go with --maps")
    _check_writable(json_file)
    from stages.scoring.foreign.map_folder import MapFolder
    from stages.scoring.foreign.metadata_folder import read_metadata
    from stages.scoring.foreign.score import CHUNK, Foreign, score_boxes, score_maps
    from stages.scoring.foreign.tables import read_boxes, read_classes

    with _one_line():
        truth = read_metadata(metadata)
        image_ids = truth.truth.image_ids
        ranked = None
        if classes is not None:
            ranked, missing = read_classes(classes, image_ids)
            _warn(missing, len(image_ids), f"no class in {classes}")
        chosen = protocol or ("wsolevaluation" if maps is not None else "original")
        foreign = Foreign(truth, method or source.stem, chosen, ranked, os.cpu_count() or 1)
        if boxes is not None:
            found, missing = read_boxes(boxes, image_ids)
            _warn(missing, len(image_ids), f"no box in {boxes}")
            rows = score_boxes(foreign, found)
        else:
            with make_progress().stage("score", math.ceil(len(image_ids) / CHUNK), 0) as bar:
                rows = score_maps(foreign, MapFolder(source), masks, threshold, lambda added: bar.advance(added, 0))
    named: dict[str, Json] = {"run": None, "dataset": truth.dataset, "split": truth.split}
    shown = [{**named, **output.finite(row)} for row in rows]
    if json_file:
        output.write_json(json_file, shown)
        return
    output.metrics_table(shown)


@contextmanager
def _one_line() -> Iterator[None]:
    """Wrong input files are wrong usage: one line, exit code 2."""
    from stages.scoring.foreign.errors import ForeignInputError

    try:
        yield
    except ForeignInputError as error:
        raise UsageError(str(error)) from error


def _check_writable(json_file: str | None) -> None:
    """Refuse a file that cannot be written before minutes are spent on its content."""
    if json_file in (None, "-"):
        return
    folder = os.path.dirname(os.path.abspath(json_file))
    if not os.access(folder, os.W_OK):
        raise UsageError(f"--json {json_file}: {folder} is no folder that can be written to")
    if os.path.isdir(json_file) or (os.path.exists(json_file) and not os.access(json_file, os.W_OK)):
        raise UsageError(f"--json {json_file}: no file that can be written to")


def _warn(missing: int, images: int, what: str) -> None:
    if missing:
        click.echo(f"weakbox: warning: {missing} of {images} images have {what}: they count as wrong", err=True)
