"""The command `maps`: a stage's score maps as files, for other programs and the standard evaluator."""

import io
from collections.abc import Iterator

import click

from jobs import output
from jobs.options import set_option, target_argument
from jobs.results import dones_asked
from jobs.target import Target, open_target
from pipeline.base.errors import UsageError
from pipeline.base.suggestions import nearest
from pipeline.planning.asked import AskedSets
from pipeline.store.files import Files
from pipeline.store.paths import UnsafePathError
from schemas.types import SPLITS
from stages.bases.imported_maps import AS_IS, FRAME

_COLUMNS = ("image_id", "split", "height", "width", "map")


@click.command()
@target_argument
@click.argument("stage")
@set_option
@click.option("--out", required=True, metavar="FOLDER", help="Where the files go: a path or a URI.")
@click.option("--split", type=click.Choice(SPLITS), help="Only this split.")
def maps(target: str, stage: str, changes: tuple[str, ...], out: str, split: str | None) -> None:
    """Write a stage's score maps as FOLDER/<image id>.npy, as the standard evaluator reads them.

    Each is 224 x 224 in [0, 1]: the map enlarged, then min-maxed. `weakbox score --maps FOLDER` gives the same numbers
    as the run's own sweep, to the bit.
    """
    opened = open_target(target, changes)
    if stage not in opened.stages:
        raise UsageError(f"there is no stage {stage!r}{nearest(stage, opened.stages)}")
    if "score_maps" not in opened.stages[stage].outputs:
        raise UsageError(f"stage {stage} makes no score maps")
    written: set[str] = set()
    for image_id, data in _encoded(opened, stage, split):
        if image_id in written:
            raise UsageError(f"stage {stage} has several maps of image {image_id}: a file holds one")
        try:
            Files(out).put(f"{image_id}.npy", data)
        except (OSError, UnsafePathError, ValueError) as error:
            raise UsageError(f"--out {out}: {getattr(error, 'strerror', None) or error}") from error
        written.add(image_id)
    output.say(f"{len(written)} maps in {out}")


def _encoded(target: Target, stage: str, split: str | None) -> Iterator[tuple[str, bytes]]:
    """Each image's map as the bytes of its file. Raises NotRun."""
    import numpy as np

    from stages.scoring.evaluator_maps import in_evaluator_frame  # brings OpenCV along
    from stages.vision.score_map_rows import map_arrays

    as_is = getattr(target.stages[stage].params, FRAME, None) == AS_IS
    for done in dones_asked(target, AskedSets(target.stages, target.store), stage):
        table = target.store.table(done, "score_maps", _COLUMNS)
        rows = zip(*(table.column(name).to_pylist() for name in ("image_id", "split")), map_arrays(table), strict=True)
        for image_id, of, score_map in rows:
            if split in (None, of):
                file = io.BytesIO()
                np.save(file, in_evaluator_frame(score_map, as_is), allow_pickle=False)
                yield image_id, file.getvalue()
