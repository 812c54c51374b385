"""A CSV of ground-truth boxes: header image_id,x0,y0,x1,y1, half-open pixels, one line per box."""

import csv
import io
import math
from collections import defaultdict
from collections.abc import Mapping

from pipeline.base.errors import UsageError
from stages.formats.file_names import ByName
from stages.ingest.listing import ListedFile, read_text
from stages.ingest.scan import Box

_CORNERS = ("x0", "y0", "x1", "y1")
_MOST = 2 * 2**30
"""The largest such file, in bytes."""


def read_boxes(file: ListedFile, known: Mapping[str, object]) -> dict[str, list[Box]]:
    """Read a CSV of boxes: image id -> boxes. known: its keys are all image ids.

    Raises:
        UsageError: names the line: an unknown image, no numbers, x1 <= x0 or y1 <= y0, a box in fractions of the image.
    """
    reader = csv.DictReader(io.StringIO(read_text(file, _MOST)))
    if not {"image_id", *_CORNERS} <= set(reader.fieldnames or ()):
        raise UsageError(f"dataset: {file.path}: the header must be image_id,x0,y0,x1,y1")
    names = ByName(known)
    boxes: dict[str, list[Box]] = defaultdict(list)
    for row in reader:
        where = f"dataset: {file.path}, line {reader.line_num}"
        box = parse_box([row[name] for name in _CORNERS], row["image_id"], where)
        image_id = names.key(row["image_id"])
        if image_id is None:
            raise UsageError(f"{where}: there is no image {row['image_id']!r}")
        boxes[image_id].append(box)
    return boxes


def parse_box(corners: list[str | None], image_id: str, where: str) -> Box:
    """Parse four texts as a box. where: what the error starts with. Raises UsageError."""
    try:
        x0, y0, x1, y1 = (float(corner or "") for corner in corners)
    except ValueError as error:
        raise UsageError(f"{where}: four numbers were expected for {image_id!r}") from error
    if not (x0 < x1 and y0 < y1 and all(math.isfinite(value) for value in (x0, y0, x1, y1))):
        raise UsageError(f"{where}: the box of {image_id!r} has no area")
    if x0 >= 0 and y0 >= 0 and x1 <= 1 and y1 <= 1 and (x0, y0, x1, y1) != (0, 0, 1, 1):
        raise UsageError(f"{where}: the box of {image_id!r} lies within 0 and 1: pixels are expected, no fractions")
    return x0, y0, x1, y1
