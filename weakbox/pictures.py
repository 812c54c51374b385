"""A picture of a run with its boxes and maps."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from jobs import run_tables
from jobs.target import Target
from pipeline.base.errors import UsageError
from pipeline.base.extras import require
from weakbox.api import Changes, Named, opened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["show"]

_BOXES = ("pseudo_labels", "predictions")
_SIDE = 3.2
"""Inches of one part of the figure."""


def show(
    target: Named, image_id: str, *, stages: Sequence[str] | None = None, changes: Changes | None = None
) -> "Figure":
    """Show an image with the boxes of a run's stages, ground truth dashed, and beside it their score maps.

    stages: only these; None: all that are complete. Needs matplotlib: pip install 'weakbox[plot]'.
    Raises: UsageError for an image that is not listed or cannot be read, and without matplotlib.
    """
    require("matplotlib", "matplotlib", "plot", "show")
    from matplotlib.figure import Figure

    there = opened(target, changes)
    row = _only(there, there.config.images, "images", image_id)
    if row is None:
        raise UsageError(f"there is no image {image_id!r}")
    pixels = run_tables.pixels(there, row)
    maps = list(_rows(there, "score_maps", image_id, stages))
    figure = Figure(figsize=(_SIDE * (1 + len(maps)), _SIDE), layout="constrained")
    axes = figure.subplots(1, 1 + len(maps), squeeze=False)[0]
    figure.suptitle(f"{row['label_name']}: {image_id}", fontsize="small")
    _picture(axes[0], pixels, "boxes")
    for number, (name, found) in enumerate(_rows(there, _BOXES, image_id, stages)):
        for box in found["boxes"] or ():
            _box(axes[0], box, f"C{number}", "-", name)
    for _, found in _rows(there, "truth", image_id, None):
        for box in found["boxes"] or ():
            _box(axes[0], box, "lime", "--", "ground truth")
    if axes[0].patches:
        axes[0].legend(fontsize="x-small", loc="lower left")
    for part, (name, found) in zip(axes[1:], maps, strict=True):
        height, width = pixels.shape[:2]
        values = np.asarray(found["map"], np.float32).reshape(found["height"], found["width"])
        _picture(part, pixels, name)
        part.imshow(values, cmap="turbo", alpha=0.55, interpolation="bilinear", extent=(0, width, height, 0))
    return figure


def _rows(
    target: Target, names: str | Sequence[str], image_id: str, stages: Sequence[str] | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(stage, row of the image) of every complete stage that gives such a table."""
    for name in [names] if isinstance(names, str) else names:
        for stage in run_tables.stages_with(target, name):
            if (stages is None or stage in stages) and target.store.newest_set(stage) is not None:
                row = _only(target, stage, name, image_id)
                if row is not None:
                    yield stage, row


def _only(target: Target, stage: str, table: str, image_id: str) -> Any:
    rows = run_tables.table(target, stage, table, None, pc.field("image_id") == image_id).to_pylist()
    return rows[0] if rows else None


def _picture(axes: "Axes", pixels: np.ndarray, title: str) -> None:
    axes.imshow(pixels)
    axes.set_title(title, fontsize="small")
    axes.set_axis_off()


def _box(axes: "Axes", box: dict[str, float], colour: str, line: str, name: str) -> None:
    from matplotlib.patches import Rectangle

    labelled = name not in [patch.get_label() for patch in axes.patches]
    corner, width, height = (box["x0"], box["y0"]), box["x1"] - box["x0"], box["y1"] - box["y0"]
    axes.add_patch(
        Rectangle(
            corner,
            width,
            height,
            fill=False,
            edgecolor=colour,
            linestyle=line,
            linewidth=2,
            label=name if labelled else None,
        )
    )
