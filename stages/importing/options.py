"""What a config may say of stage `import`."""

from dataclasses import dataclass
from typing import Literal

from pipeline.base.params import option, reads
from schemas.types import Split

__all__ = ["ImportParams", "MapFrame"]

MapFrame = Literal["as_is", "min_max"]


@dataclass(frozen=True)
class ImportParams:
    """Parameters of `import`: `maps` or `boxes`, one of them."""

    images: str = reads("images", "ingest", "the images")
    maps: str | None = option(
        None,
        "score maps: a folder of <image id>.npy; or a Parquet file, or a folder of such, with columns image_id and map"
        " (a list of rows; or one flat list, with columns height and width). Each map covers its whole image",
        by_content=True,
    )
    boxes: str | None = option(
        None,
        "boxes: CSV or Parquet of image_id, x0, y0, x1, y1 (half-open pixels of the image as it is used) and, if any,"
        " score; or COCO JSON, also with masks, where file_name is the image id",
        by_content=True,
    )
    frame: MapFrame = option(
        "as_is",
        "as_is: a map of 224 x 224 is the standard evaluator's own, in [0, 1], and is not rescaled; min_max: it is"
        " min-max normalized like any other",
    )
    method: str | None = option(None, "name of the method in tables; null: the name of the stage")
    splits: tuple[Split, ...] | None = option(None, "splits that are imported; null: all")
