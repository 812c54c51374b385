"""From rows of the metrics table to the tables and headline figures of the report."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.types import TRIVIAL

__all__ = ["Cell", "Headline", "MethodRow", "SplitTable", "headline", "measured_split", "split_tables"]

Row = Mapping[str, Any]

SPLITS = ("test", "val", "dev", "train")
"""In the order of the report: the first split that was scored is reported on top."""

IOU = 0.5
_COLUMNS = {
    "cls_top1": "Cls top-1",
    "gt_known": "GT-known",
    "top1_loc": "Top-1 Loc",
    "top5_loc": "Top-5 Loc",
    "max_box_acc": "MaxBoxAcc",
    "max_box_acc_v2": "MaxBoxAccV2",
}
_MEASURED = (*(metric for metric in _COLUMNS if metric != "cls_top1"), "pxap", "peak_iou")
"""What needs ground truth of places."""

_CHOICES = ("validated", "fixed", None, "oracle")


@dataclass(frozen=True)
class Cell:
    """One value of one method: percent, its 95 % interval, and the threshold and protocol behind it.

    best: no method has a higher comparable value. beaten: the best trivial predictor of the same protocol is at least
    as good.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    threshold: float | None
    choice: str | None
    protocol: str | None
    n: int
    best: bool = False
    beaten: bool = False


@dataclass(frozen=True)
class MethodRow:
    """One line of a table; `cells[i]` holds all values of column i, those with validated thresholds first.

    drawn: a person drew some of the boxes that it was trained on or made from. sources: the stages behind the values.
    Stages share a line if their metrics do not overlap: a method's boxes and the score maps that they come from.
    """

    method: str
    sources: tuple[str, ...]
    seed: int | None
    trivial: bool
    drawn: bool
    cells: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class SplitTable:
    """All methods on one split, then the trivial predictors."""

    split: str
    columns: tuple[str, ...]
    rows: tuple[MethodRow, ...]


@dataclass(frozen=True)
class Headline:
    """The figures on top: the best method's GT-known and the best trivial predictor's of the same protocol."""

    split: str
    method: str
    source: str | None
    cell: Cell
    trivial: str | None
    trivial_value: float | None
    cls_top1: float | None

    @property
    def lead(self) -> float | None:
        """Points between the best method and the best trivial predictor."""
        if self.cell.value is None or self.trivial_value is None:
            return None
        return self.cell.value - self.trivial_value


def _report_split(present: Iterable[str]) -> str | None:
    """The split that is reported on top: test before val, dev and train; None without any."""
    found = set(present)
    return next((split for split in SPLITS if split in found), None)


def measured_split(metrics: Sequence[Row]) -> str | None:
    """The split on top among those where maps or boxes of a method were held against ground truth; None without any."""
    known = [row for row in metrics if row["metric"] in _MEASURED and row["value"] is not None]
    return _report_split(row["split"] for row in known if row["method"] not in TRIVIAL)


def split_tables(metrics: Sequence[Row]) -> list[SplitTable]:
    """One table a split, test first, with values at IoU 0.5; columns that no method has are left out."""
    shown = [row for row in metrics if row["metric"] in _COLUMNS and row["iou"] in (None, IOU)]
    tables = []
    for split in SPLITS:
        rows = [row for row in shown if row["split"] == split]
        columns = [metric for metric in _COLUMNS if any(row["metric"] == metric for row in rows)]
        lines = [_line(own, rows, columns) for own in _groups(rows)]
        if lines:
            titles = tuple(_COLUMNS[metric] for metric in columns)
            tables.append(SplitTable(split, titles, tuple(sorted(lines, key=_order(columns)))))
    return tables


def headline(metrics: Sequence[Row]) -> Headline | None:
    """The best GT-known value at IoU 0.5 of the split on top; an oracle threshold only if there is no other."""
    known = [r for r in metrics if r["metric"] == "gt_known" and r["iou"] in (None, IOU) and r["value"] is not None]
    split = _report_split(row["split"] for row in known if row["method"] not in TRIVIAL)
    here = [row for row in known if row["split"] == split]
    methods = [row for row in here if row["method"] not in TRIVIAL]
    if split is None:
        return None
    best = max(methods, key=lambda row: (row["threshold_choice"] != "oracle", row["value"]))
    yardsticks = [r for r in here if r["method"] in TRIVIAL and r["protocol"] == best["protocol"]]
    trivial = max(yardsticks, key=lambda row: row["value"], default=None)
    classified = [
        r["value"] for r in metrics if r["metric"] == "cls_top1" and r["split"] == split and r["value"] is not None
    ]
    return Headline(
        split=split,
        method=best["method"],
        source=best["source"],
        cell=_cell(best, here),
        trivial=None if trivial is None else trivial["method"],
        trivial_value=None if trivial is None else trivial["value"],
        cls_top1=max(classified, default=None),
    )


def _groups(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of each line: one line a method and seed, or one a source where the sources' metrics overlap."""
    methods: dict[tuple[str, int | None], dict[str, list[Row]]] = {}
    for row in rows:
        methods.setdefault((row["method"], row["seed"]), {}).setdefault(row["source"] or "", []).append(row)
    groups = []
    for by_source in methods.values():
        metrics = [metric for own in by_source.values() for metric in {row["metric"] for row in own}]
        if len(metrics) == len(set(metrics)):
            groups.append([row for own in by_source.values() for row in own])
        else:
            groups.extend(by_source.values())
    return groups


def _line(own: Sequence[Row], rows: Sequence[Row], columns: Sequence[str]) -> MethodRow:
    """One line from its own rows, compared with all rows of the split."""
    cells = []
    for metric in columns:
        column = [row for row in rows if row["metric"] == metric]
        found = sorted(
            (row for row in own if row["metric"] == metric),
            key=lambda row: (_CHOICES.index(row["threshold_choice"]), row["protocol"] or ""),
        )
        cells.append(tuple(_cell(row, column) for row in found))
    method = own[0]["method"]
    sources = dict.fromkeys(row["source"] for row in own if row["source"])
    drawn = any(row.get("supervision") == "boxes" for row in own)
    return MethodRow(method, tuple(sources), own[0]["seed"], method in TRIVIAL, drawn, tuple(cells))


def _cell(row: Row, column: Sequence[Row]) -> Cell:
    """A value compared with its column: same protocol, and among methods oracle with oracle thresholds only."""
    value = row["value"]
    trivial = row["method"] in TRIVIAL
    same = [r for r in column if r["protocol"] == row["protocol"] and r["value"] is not None]
    oracle = row["threshold_choice"] == "oracle"
    rivals = [r["value"] for r in same if r["method"] not in TRIVIAL and (r["threshold_choice"] == "oracle") == oracle]
    yardsticks = [r["value"] for r in same if r["method"] in TRIVIAL]
    return Cell(
        value=value,
        ci_low=row["ci_low"],
        ci_high=row["ci_high"],
        threshold=row["threshold"],
        choice=row["threshold_choice"],
        protocol=row["protocol"],
        n=row["n"],
        best=not trivial and value is not None and value == max(rivals),
        beaten=not trivial and value is not None and value <= max(yardsticks, default=float("-inf")),
    )


def _order(columns: Sequence[str]) -> Callable[[MethodRow], tuple[bool, float, str]]:
    """Sort key of a table's lines: methods before trivial predictors, then by GT-known (or the first column)."""
    lead = columns.index("gt_known") if "gt_known" in columns else 0

    def key(line: MethodRow) -> tuple[bool, float, str]:
        values = [cell.value for cell in line.cells[lead] if cell.value is not None]
        return line.trivial, -(values[0] if values else -1.0), f"{line.method} {line.sources}"

    return key
