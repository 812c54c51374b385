"""What papers report: the numbers of their tables, beside the configs that reproduce them.

`jobs/configs/papers/reported/<config>.yaml` holds the tables as printed. A row names the stage whose metric it is, the
changes of the config (`--set`) that make it, and a number for each metric; `gt_delta@0.7` is one at an IoU.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json

__all__ = ["Ours", "Printed", "compared", "metric_of", "reported_of"]

_FOLDER, _OWN = "reported", ("row", "source", "set")


@dataclass(frozen=True)
class _Table:
    """A table of a paper. errors: what is printed is 100 - the metric."""

    table: str
    split: str
    rows: list[dict[str, Any]]
    protocol: str | None = None
    errors: bool = False


@dataclass(frozen=True)
class Printed:
    """A printed number. sets: changes of the config that make its row. errors: it is 100 - the metric."""

    table: str
    row: str
    source: str
    sets: tuple[str, ...]
    split: str
    protocol: str | None
    metric: str
    iou: float | None
    value: float
    errors: bool


class Ours(NamedTuple):
    """Our number in the paper's terms, percent, with its 95 % interval."""

    value: float | None
    low: float | None
    high: float | None


def reported_of(config: str) -> list[Printed]:
    """The printed numbers of a config of jobs/configs/papers. Raises UsageError for a config without any."""
    path = Path(config)
    file = path.parent / _FOLDER / path.name
    try:
        tables = [_Table(**table) for table in yaml.safe_load(file.read_text(encoding="utf-8"))]
        return [printed for table in tables for row in table.rows for printed in _printed(table, row)]
    except OSError as error:
        raise UsageError(f"{config}: no paper's numbers are known for it: {file} is not there") from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{file}: {' '.join(str(error).split())}") from error


def metric_of(rows: Sequence[Mapping[str, Json]], printed: Printed) -> Ours | None:
    """A run's own number for a printed one; None where the run has none. rows: of table `metrics`.

    Raises: UsageError where the run has several.
    """
    wanted = {"source": printed.source, "split": printed.split, "metric": printed.metric}
    if printed.protocol is not None and not printed.metric.startswith("cls_"):
        wanted["protocol"] = printed.protocol
    found = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    if printed.iou is not None:
        found = [row for row in found if row["iou"] == printed.iou]
    if len(found) > 1:
        said = ", ".join(f"{name} {value}" for name, value in wanted.items())
        raise UsageError(f"the run has {len(found)} numbers of {said}: leave all but one out")
    if not found:
        return None
    value, low, high = (_number(found[0][name]) for name in ("value", "ci_low", "ci_high"))
    if not printed.errors:
        return Ours(value, low, high)
    return Ours(*(None if number is None else 100 - number for number in (value, high, low)))


def compared(
    printed: Sequence[Printed], rows: Sequence[Mapping[str, Json]], changes: Collection[str]
) -> Iterator[tuple[Printed, Ours | None]]:
    """Each printed number with ours; None where its row needs other changes than the run's. changes: see `--set`."""
    known = {change for number in printed for change in number.sets}
    made = known & set(changes)
    for number in printed:
        yield number, metric_of(rows, number) if set(number.sets) == made else None


def _printed(table: _Table, row: Mapping[str, Any]) -> Iterator[Printed]:
    """The numbers of a row."""
    for key, value in row.items():
        if key in _OWN:
            continue
        metric, _, iou = key.partition("@")
        yield Printed(
            table.table,
            row["row"],
            row["source"],
            tuple(row.get("set", ())),
            table.split,
            table.protocol,
            metric,
            float(iou) if iou else None,
            float(value),
            table.errors,
        )


def _number(value: Json) -> float | None:
    return float(value) if isinstance(value, int | float) else None
