"""What `sweep`, `calibrate` and `evaluate` read: tables of several shards, ground-truth masks."""

from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.base.errors import UsageError
from pipeline.contract.context import Context
from pipeline.store.records import Done, Task
from schemas import TABLES
from stages.scoring.ragged import BoolArray
from stages.vision.images import ImageError, decode

MASK_GREY = 128
"""A pixel of a ground-truth mask is foreground where its grey value is above."""


def joined(
    context: Context,
    dones: tuple[Done, ...],
    table: str,
    columns: tuple[str, ...],
    filters: pc.Expression | None = None,
) -> pa.Table:
    """One table of several shards."""
    parts = [context.table(done, table, columns, filters) for done in dones]
    return pa.concat_tables(parts) if parts else TABLES[table].empty().select(list(columns))


def of(task: Task, slot: str, source: str) -> tuple[Done, ...]:
    """The shards of one of the stages that a slot reads."""
    return tuple(done for done in task.inputs[slot] if done.stage == source)


class Origin(NamedTuple):
    """What all rows of a stage's table share; what the table does not have is None."""

    method: str
    seed: int | None
    source: str | None
    threshold: float | None
    threshold_choice: str | None


def origin(table: pa.Table, source: str) -> Origin:
    """What the first row says, for it is the same in all. Raises UsageError where there is none."""
    if not table.num_rows:
        raise UsageError(f"stage {source} has no row of a split that is scored; give it that split")
    row = table.slice(0, 1).to_pylist()[0]
    return Origin(row["method"], *(row.get(name) for name in Origin._fields[1:]))


def read_mask(context: Context, image_id: str, uri: str, height: int, width: int) -> BoolArray:
    """A ground-truth mask (height, width). Raises UsageError for a file that is none, or of another size."""
    try:
        grey = decode(context.read(uri))[:, :, 0]
    except ImageError as error:
        raise UsageError(f"ground-truth mask of {image_id}: {uri}: {error}") from error
    if grey.shape != (height, width):
        found = f"{grey.shape[1]} x {grey.shape[0]}"
        raise UsageError(f"ground-truth mask of {image_id}: {uri}: {found} pixels, the image has {width} x {height}")
    return grey > MASK_GREY
