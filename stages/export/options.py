"""What a config may say of stage `export`."""

from dataclasses import dataclass
from typing import Literal

from pipeline.base.params import option, reads
from schemas.types import SPLITS, Split

__all__ = ["ExportParams", "Format"]

Format = Literal["coco"]


@dataclass(frozen=True)
class ExportParams:
    """Which boxes are exported, and how."""

    images: str = reads("images", "ingest", "stage that lists the images")
    labels: str | None = reads("pseudo_labels", None, "stage whose pseudo labels are exported (or predictions)")
    predictions: str | None = reads("predictions", None, "stage whose predictions are exported (or labels)")
    format: Format = option("coco", "coco")
    splits: tuple[Split, ...] = option(SPLITS, "splits to export, a file each; one without images has no file")
    keep_flagged: bool = option(False, "also export pseudo labels whose box is a fallback (empty_mask, ...)")
