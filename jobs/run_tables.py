"""Tables of a finished run as its config asks for them, and the pixels of its images."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.results import dones_asked
from jobs.target import Target
from pipeline.base.errors import UsageError
from pipeline.base.suggestions import nearest
from pipeline.contract.stage import roots_of
from pipeline.planning.asked import AskedSets
from pipeline.worker.local_context import LocalContext
from schemas import TABLES
from stages.vision.image_rows import ImageRow

__all__ = ["pixels", "stages_with", "table"]


def stages_with(target: Target, name: str) -> list[str]:
    """The stages that give a table, in the order of the config."""
    return [stage for stage, made in target.stages.items() if name in made.outputs]


def table(
    target: Target, stage: str, name: str, columns: Sequence[str] | None = None, where: pc.Expression | None = None
) -> pa.Table:
    """A whole table of a stage. Raises: UsageError for a stage, a table or a column that is not there; NotRun."""
    if stage not in target.stages:
        raise UsageError(f"there is no stage {stage!r}{nearest(stage, target.stages)}")
    given = target.stages[stage].outputs
    if name not in given:
        raise UsageError(f"stage {stage} gives {', '.join(given) or 'no table'}, no {name!r}{nearest(name, given)}")
    known = TABLES[name].schema.names
    for column in columns or ():
        if column not in known:
            raise UsageError(f"table {name} has no column {column!r}{nearest(column, known)}")
    dones = dones_asked(target, AskedSets(target.stages, target.store), stage)
    parts = [target.store.table(done, name, columns, where) for done in dones]
    return pa.concat_tables([TABLES[name].empty().select(list(columns or known)), *parts])


def pixels(target: Target, row: ImageRow) -> np.ndarray:
    """An image of the run, ``(H, W, 3)`` uint8 RGB. Raises: UsageError where it cannot be read."""
    from stages.vision.image_reading import load  # brings OpenCV along

    try:
        return load(LocalContext(target.store, roots=roots_of(target.stages)).read_image, row)
    except (ValueError, OSError) as error:
        raise UsageError(f"{row['image_id']}: {error}") from error
