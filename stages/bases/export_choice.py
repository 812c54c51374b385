"""Options of stage `export` and of the command `export`: which boxes are exported, and in which format."""

import math
from dataclasses import dataclass
from typing import Literal

from pipeline.base.params import option
from schemas.types import SPLITS, Split
from stages.formats.capabilities import FORMATS, Format, Outline, Pictures

__all__ = ["ExportChoice"]


@dataclass(frozen=True)
class ExportChoice:
    """Options of an export, the same for boxes of every stage."""

    format: Format = option("coco", "coco, yolo, voc, webdataset, huggingface, parquet or labelstudio")
    pictures: Pictures = option(
        "reference",
        "reference: files name the pictures' paths; copy, link: they lie beside the boxes; embed: inside of the files"
        " (huggingface, parquet, webdataset)",
    )
    outlines: Outline | None = option(
        None,
        "masks: rle (run-length codes; voc: PNG files), polygon (coco, yolo, labelstudio), or none; null: rle, and none"
        " where the format has polygons alone",
    )
    splits: tuple[Split, ...] = option(SPLITS, "splits to export; one without images has no file")
    merge_dev: bool = option(False, "images of dev belong to train")
    boxes: Literal["all", "best"] = option("all", "all boxes of an image, or the best alone")
    max_boxes: int | None = option(None, "at most so many boxes an image, the best ones", at_least=1)
    min_score: float | None = option(None, "leave out boxes of a lower score")
    min_quality: float | None = option(
        None, "for a consensus: leave out images whose box has a lower quality, or none", at_least=0, at_most=1
    )
    classes: tuple[str, ...] | None = option(None, "classes that are exported, by name; null: all")
    keep_flagged: bool = option(False, "also export pseudo labels whose box is a fallback (empty_mask, ...)")

    def mistake(self) -> str | None:
        """Say which option the format does not support; None where it supports all."""
        if self.min_score is not None and not math.isfinite(self.min_score):
            return f"min_score must be a number, not {self.min_score}"
        allowed = FORMATS[self.format]
        for name, value, known in (
            ("pictures", self.pictures, allowed.pictures),
            ("outlines", self.outlines or allowed.outlines[0], allowed.outlines),
        ):
            if value not in known:
                return f"{self.format} has {name}: {' or '.join(known)}, not {value}"
        return None

    @property
    def form(self) -> Outline | None:
        """The form of the masks; None: they are left out."""
        form = self.outlines or FORMATS[self.format].outlines[0]
        return None if form == "none" else form

    def split_of(self, split: str) -> str | None:
        """The split that images of a split belong to; None: they are left out."""
        split = "train" if self.merge_dev and split == "dev" else split
        return split if split in self.splits else None
