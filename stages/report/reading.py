"""Reads a run's tables for one split of the page: its images, and the results of each source on them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas import TABLES
from stages.report.gallery import Source
from stages.report.sources import Images, Judged, judged
from stages.scoring.arrow_tables import corners, with_truth
from stages.scoring.ragged import from_lists
from stages.vision.image_rows import ImageRow

__all__ = ["BOXES", "Row", "Tables", "images_of", "sources_of"]

Row = Mapping[str, Any]

BOXES = {"labels": ("pseudo", "pseudo_labels"), "predictions": ("predicted", "predictions")}
"""Slot -> kind of the boxes and their table."""

_SCORED = ("image_id", "width", "height", "label")


class Tables(Protocol):
    """Access of a page to a run. Slots are the inputs of stage `report`; a slot may hold several stages, or none."""

    def parts(
        self, slot: str, table: str, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> list[tuple[str, pa.Table]]:
        """(stage name, a part of its table) for every stage in a slot; `where`: a pyarrow expression or None."""

    def image(self, row: ImageRow) -> np.ndarray | None:
        """The pixels of an image, (H, W, 3) uint8 RGB; None, and one more refused image, if it cannot be read."""

    def refused(self) -> list[Row]:
        """Quarantined images of all stages that are read, and those that `image` refused so far."""


def images_of(tables: Tables, split: str) -> Images:
    """The images of a split and their true boxes."""
    own = _whole(tables, "images", "images", _SCORED, pc.field("split") == split)
    joined = with_truth(own, _whole(tables, "truth", "truth", ("image_id", "boxes"), None))
    boxes = [[corners(box) for box in row or ()] for row in joined.column("boxes").to_pylist()]
    sizes = np.stack([joined.column(name).to_numpy() for name in ("width", "height")], axis=1).astype(np.float64)
    labels = joined.column("label").to_numpy().astype(np.int64)
    return Images(joined.column("image_id").to_pylist(), sizes, labels, from_lists(boxes))


def sources_of(tables: Tables, split: str, images: Images) -> dict[Source, Judged]:
    """Every source that gave a box on a split, pseudo boxes first."""
    qualities = _qualities(tables, split)
    found = {
        source: judged(table, images, qualities.get(source[2], {}))
        for source, table in _of_sources(tables, split)
        if table.column("boxes").null_count < len(table)
    }
    return dict(sorted(found.items(), key=lambda item: (item[0][0] != "pseudo", item[0])))


def _of_sources(tables: Tables, split: str) -> Iterator[tuple[Source, pa.Table]]:
    for slot, (kind, name) in BOXES.items():
        wanted = ("image_id", "method", "boxes", *(("flag", "quality") if kind == "pseudo" else ()))
        of_stage: dict[str, list[pa.Table]] = {}
        for stage, part in tables.parts(slot, name, wanted, pc.field("split") == split):
            of_stage.setdefault(stage, []).append(part)
        for stage, parts in of_stage.items():
            table = pa.concat_tables(parts)
            for method in pc.unique(table.column("method")).to_pylist():
                yield (kind, method, stage), table.filter(pc.field("method") == method)


def _qualities(tables: Tables, split: str) -> dict[str, dict[str, float]]:
    """Stage whose boxes were judged -> image id -> quality."""
    found: dict[str, dict[str, float]] = {}
    known = (pc.field("split") == split) & pc.field("quality").is_valid()
    for _, part in tables.parts("quality", "qualities", ("image_id", "source", "quality"), known):
        columns = (part.column(name).to_pylist() for name in ("image_id", "source", "quality"))
        for image_id, source, quality in zip(*columns, strict=True):
            found.setdefault(source, {})[image_id] = quality
    return found


def _whole(tables: Tables, slot: str, table: str, columns: Sequence[str], where: pc.Expression | None) -> pa.Table:
    parts = [part for _, part in tables.parts(slot, table, columns, where)]
    return pa.concat_tables([TABLES[table].empty().select(list(columns)), *parts])
