"""The tables that come with ILSVRC: Kaggle's solutions (classes and boxes), the devkit's ground truth (classes)."""

import csv
import io
from collections.abc import Iterator, Mapping, Set
from typing import Any

from pipeline.base.errors import UsageError
from stages.ingest.parsing import finite
from stages.ingest.readers.voc_xml import Annotation, Object

__all__ = ["parse_classes", "parse_ground_truth", "parse_mat_classes", "parse_solution"]

_FIELDS = 5


def parse_solution(text: str, where: str, wanted: Set[str]) -> dict[str, Annotation]:
    """Parse LOC_val_solution.csv or LOC_train_solution.csv: image name -> what its row says.

    The header is ``ImageId,PredictionString``; a prediction string repeats ``wnid x0 y0 x1 y1``. wanted: the image
    names (without extension) whose rows are kept. Corners stay as written: pixels from 0, both inside.

    Raises: UsageError for another header, or a wanted row that is no list of boxes.
    """
    rows = csv.reader(io.StringIO(text))
    if [name.strip() for name in next(rows, [])] != ["ImageId", "PredictionString"]:
        raise UsageError(f"{where}: the header must be ImageId,PredictionString")
    found = {}
    try:
        for row in rows:
            if row and row[0] in wanted:
                at = f"{where}, line {rows.line_num}"
                found[row[0]] = Annotation(row[0], None, list(_objects(row[1:], at)))
    except csv.Error as error:
        raise UsageError(f"{where}, line {rows.line_num}: {error}") from error
    return found


def _objects(columns: list[str], where: str) -> Iterator[Object]:
    words = columns[0].split() if len(columns) == 1 else []
    if not words or len(words) % _FIELDS:
        raise UsageError(f"{where}: 'wnid x0 y0 x1 y1' was expected, once or more, not {','.join(columns)!r:.60}")
    for first in range(0, len(words), _FIELDS):
        name, *corners = words[first : first + _FIELDS]
        x0, y0, x1, y1 = (finite(corner, "a corner", where) for corner in corners)
        yield Object(name, (x0, y0, x1, y1), False)


def parse_ground_truth(text: str, where: str, classes: Mapping[int, str]) -> dict[str, str]:
    """Image name -> wnid by the devkit's ground truth: line N has the class number of ILSVRC2012_val_N, from 1.

    classes: number -> wnid. Raises UsageError for a line that is not one of its numbers.
    """
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        wnid = classes.get(int(line)) if line.strip().isdecimal() else None
        if wnid is None:
            raise UsageError(f"{where}, line {number}: {line.strip()!r:.40} is no class number of the devkit")
        found[f"ILSVRC2012_val_{number:08d}"] = wnid
    return found


def parse_classes(text: str, where: str) -> dict[int, str]:
    """Number -> wnid by the devkit's map_clsloc.txt: ``n02119789 1 kit_fox``. Raises UsageError."""
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if len(words) < 2 or not words[1].isdecimal():
            raise UsageError(f"{where}, line {number}: a wnid and its number were expected, not {line!r:.40}")
        found[int(words[1])] = words[0]
    return found


def parse_mat_classes(data: bytes, where: str) -> dict[int, str]:
    """Number -> wnid by the devkit's meta.mat: its `synsets` have ILSVRC2012_ID and WNID. Raises UsageError."""
    from scipy.io import loadmat  # slow to import; safe, as it builds only arrays of numbers and texts

    try:
        synsets = loadmat(io.BytesIO(data), squeeze_me=True, variable_names=["synsets"])["synsets"]
        key = next(name for name in synsets.dtype.names if name.endswith("_ID"))
        return {int(number): str(wnid) for number, wnid in _pairs(synsets[key], synsets["WNID"])}
    except Exception as error:  # a damaged file can raise anything
        raise UsageError(f"{where}: no meta.mat of an ILSVRC devkit: {error}") from error


def _pairs(numbers: Any, names: Any) -> Iterator[tuple[Any, Any]]:
    return zip(numbers.ravel(), names.ravel(), strict=True)
