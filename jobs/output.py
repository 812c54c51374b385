"""What commands print: tables and JSON."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.base.json_types import Json
from pipeline.base.printable import printable

_WIDE = 200


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on stdout; wide where stdout is no terminal, so that lines stay whole. Cells are texts, never markup."""
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        shown.add_column(Text(printable(column)), overflow="fold")
    for row in rows:
        shown.add_row(*(Text("" if value is None else printable(str(value))) for value in row))
    Console(width=None if sys.stdout.isatty() else _WIDE).print(shown)


def say(line: str, *, err: bool = False) -> None:
    """A line on stdout, or on stderr, with control characters of stored data as escapes."""
    click.echo(printable(line), err=err)


def write_json(path: str, value: Json) -> None:
    """JSON to a file, or to stdout for `-`."""
    text = json.dumps(value, indent=1, allow_nan=False)
    if path == "-":
        click.echo(text)
        return
    with open(path, "w", encoding="utf-8") as file:
        file.write(text + "\n")


def short(value: Json) -> str:
    """A value in a table: numbers with two decimals."""
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def finite(row: Mapping[str, object]) -> dict[str, Json]:
    """A row of a table whose undefined numbers are None, as JSON needs them."""
    values: dict[str, Any] = dict(row)  # what a table holds is JSON but for NaN and infinities
    return {key: None if _is_undefined(value) else value for key, value in values.items()}


def metrics_table(rows: Sequence[Mapping[str, Json]]) -> None:
    """Rows of metrics as a table."""
    numbers = ("value", "ci_low", "ci_high", "n", "threshold")
    names = ["split", "method", "source", "metric", "iou", *numbers, "threshold_choice", "protocol"]
    names += ["supervision"] if any(row.get("supervision") for row in rows) else []
    table(names, [[short(row[name]) for name in names] for row in rows])


def _is_undefined(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
