"""What `weakbox label` says at its end of how good its boxes are."""

from collections.abc import Mapping, Sequence

from jobs import results
from jobs.target import Target
from jobs.verdict import verdict_of
from pipeline.base.json_types import Json
from schemas.types import TRIVIAL

__all__ = ["how_good", "verdict_line"]

_IOU = 0.5

Metrics = Sequence[dict[str, Json]]


def how_good(target: Target, consensus: str, expected: float | None) -> str:
    """The share of true boxes that a stage finds, beside the best box that looks at no picture.

    expected: the mean quality of the boxes that are kept; None where it is not known.
    """
    known = [row for row in results.metric_rows(target) if (row["metric"], row["iou"]) == ("gt_known", _IOU)]
    scored = [row for row in known if row["source"] == consensus]
    if not scored:
        return (
            f"how good: not known, for nobody drew a box; forty of them tell: weakbox review {target.config.run_root}"
            " --sample 40"
        )
    said = "; ".join(
        f"of the {row['n']} true boxes of {row['split']} {row['value']:.0f} % are found"
        f" ({row['ci_low']:.0f} to {row['ci_high']:.0f}, IoU {_IOU}{_yardstick(known, row)})"
        for row in scored
    )
    return f"how good: {said}" + ("" if expected is None else f"; {100 * expected:.0f} % of those kept should be right")


def _yardstick(known: Metrics, scored: Mapping[str, Json]) -> str:
    """How many of the same boxes are found without a look at any picture."""
    same = [row for row in known if all(row[name] == scored[name] for name in ("split", "protocol"))]
    own = (row["value"] for row in same if row["method"] in TRIVIAL)
    values = [value for value in own if isinstance(value, float)]
    return f"; {max(values):.0f} by the best box that looks at no picture" if values else ""


def verdict_line(target: Target) -> str:
    """The verdict of the checks that need no true box."""
    verdict = verdict_of(target)
    if verdict is None:
        return "verdict: unknown"
    return f"verdict: {verdict.said}" + (", nothing speaks against these boxes" if verdict.said == "good" else "")
