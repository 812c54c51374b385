"""Figures: what was measured, the bar it is held to, and the table and JSON file that say so."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
_SHOWN = ("figure", "value", "unit", "direction", "bar", "met", "baseline_value", "repeats", "reason")


@dataclass(frozen=True)
class Bar:
    """What a figure must reach. direction: ">=" or "<="."""

    bar: float
    direction: str
    unit: str

    def met(self, value: float | None) -> bool | None:
        """Whether a value reaches the bar; None where there is no value."""
        if value is None:
            return None
        return value >= self.bar if self.direction == ">=" else value <= self.bar


@dataclass(frozen=True)
class Measured:
    """One measured figure.

    value: None when it could not be measured; `reason` then says why. reason: otherwise what a reader must know.
    baseline_value: the other arm of a comparison, in its own unit. unit: for figures that no bar is set for.
    """

    figure: str
    value: float | None
    repeats: int
    baseline_value: float | None = None
    reason: str | None = None
    unit: str | None = None


def rows(
    measured: Sequence[Measured], bars: Mapping[str, Bar], command: str, environment: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """One row a figure, as it goes into the results file; `met` is None without a value or a bar."""
    result = []
    for figure in measured:
        if figure.value is not None and not math.isfinite(figure.value):
            raise ValueError(f"{figure.figure} is {figure.value}")
        bar = bars.get(figure.figure)
        result.append(
            {
                **dataclasses.asdict(figure),
                "unit": bar.unit if bar else figure.unit,
                "bar": bar.bar if bar else None,
                "direction": bar.direction if bar else None,
                "met": bar.met(figure.value) if bar else None,
                "command": command,
                "environment": dict(environment),
            }
        )
    return result


def write(topic: str, figures: Sequence[Mapping[str, Any]], folder: Path = RESULTS) -> Path:
    """Write the rows to `<folder>/<topic>.json`."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{topic}.json"
    path.write_text(json.dumps(list(figures), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return path


def table(figures: Sequence[Mapping[str, Any]]) -> str:
    """The rows as aligned text."""
    cells = [list(_SHOWN)] + [[_short(row[name]) for name in _SHOWN] for row in figures]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_SHOWN))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells)


def _short(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
