"""The rows of a shard of images, from the files of another program."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow.compute as pc

from pipeline.base.errors import UsageError
from pipeline.base.hashing import fingerprint
from pipeline.contract.context import Context
from pipeline.store.files import Files
from pipeline.store.paths import UnsafePathError
from pipeline.store.records import QuarantineRow, ShardResult, Task, quarantined
from schemas import TABLES
from schemas.types import SPLITS, WHOLE_MAP
from stages.importing.coco_boxes import parse_coco
from stages.importing.found_boxes import FoundBoxes, ImageBoxes
from stages.importing.options import ImportParams
from stages.importing.outlines import outline_mask
from stages.importing.parquet_maps import ParquetMaps
from stages.importing.score_map import checked_map, parse_npy
from stages.scoring.foreign.errors import ForeignInputError
from stages.scoring.foreign.tables import PARQUET, parse_boxes
from stages.vision.held_boxes import held
from stages.vision.image_rows import IMAGE_COLUMNS, ImageRow, carried
from stages.vision.masks import Rle, decode

__all__ = ["ImportWorker", "MapSource", "open_boxes", "open_maps"]

_CORNERS = ("x0", "y0", "x1", "y1", "score")
_UNKNOWN = dict.fromkeys(("backbone", "tap", "input_size", "weights_hash", "seed"))
_NO_BOX = "no_box"
"""Flag of an image in which the other program found nothing."""

Row = Mapping[str, Any]


class MapSource(Protocol):
    """A source of score maps."""

    def read(self, image_ids: Sequence[str]) -> Iterator[tuple[str, np.ndarray | ValueError]]:
        """Image id and map (h, w), or an error about it, for the images that are found."""


class ImportWorker:
    """Opens the files at its first shard. stage: its name in the run. method: the method named in its rows."""

    def __init__(self, stage: str, method: str, params: ImportParams, context: Context) -> None:
        self._stage, self._method, self._params, self._context = stage, method, params, context
        self._maps: MapSource | None = None
        self._boxes: FoundBoxes | None = None

    def __call__(self, task: Task) -> ShardResult:
        """The rows of a shard of images. Raises UsageError for boxes that do not fit their images."""
        (done,) = task.inputs["images"]
        wanted = pc.field("split").isin(self._params.splits or SPLITS)
        images: list[ImageRow] = self._context.table(done, "images", IMAGE_COLUMNS, wanted).to_pylist()
        try:
            return self._of_maps(images) if self._params.boxes is None else self._of_boxes(images)
        except (ValueError, OSError) as error:
            raise UsageError(f"stage {self._stage}: {error}") from error

    def _of_maps(self, images: Sequence[ImageRow]) -> ShardResult:
        self._maps = self._maps or open_maps(str(self._params.maps))
        found: dict[str, np.ndarray | ValueError] = {}
        for image_id, score_map in self._maps.read([image["image_id"] for image in images]):
            found[image_id] = ValueError("there are two maps of it") if image_id in found else score_map
        rows: list[Row] = []
        refused: list[QuarantineRow] = []
        for image in images:
            try:
                rows.append(self._map_row(image, found.get(image["image_id"])))
            except ValueError as error:
                refused.append(quarantined(self._stage, image, str(error)))
        table = TABLES["score_maps"].from_rows(rows, {"map": WHOLE_MAP})
        hashes = [[row["image_id"], hashlib.sha256(row["map"]).hexdigest(), row["width"]] for row in rows]
        return ShardResult({"score_maps": table}, quarantine=refused, identity=fingerprint(hashes), rows_in=len(images))

    def _map_row(self, image: ImageRow, found: np.ndarray | ValueError | None) -> Row:
        if found is None:
            raise ValueError(f"{self._params.maps} has no map of it")
        if isinstance(found, ValueError):
            raise found
        score_map = checked_map(found, self._params.frame)
        height, width = score_map.shape
        own = {"method": self._method, "height": height, "width": width, "map": score_map.ravel(), "flag": None}
        return {**carried(image), **own, **_UNKNOWN}

    def _of_boxes(self, images: Sequence[ImageRow]) -> ShardResult:
        self._boxes = self._boxes or open_boxes(str(self._params.boxes))
        rows = [self._boxes_row(image, self._boxes.images.get(image["image_id"])) for image in images]
        told: list[Any] = [[row["image_id"], row["boxes"], row["masks"]] for row in rows]
        table = TABLES["pseudo_labels"].from_rows(rows)
        return ShardResult({"pseudo_labels": table}, identity=fingerprint(told), rows_in=len(images))

    def _boxes_row(self, image: ImageRow, found: ImageBoxes | None) -> Row:
        width, height = image["width"], image["height"]
        boxes: list[list[float]] = []
        masks: list[Rle] | None = None
        if found is not None:
            try:
                _check_size(found, width, height)
                boxes, _ = held(found.boxes.tolist(), width, height)
                if found.outlines is not None:
                    masks = [outline_mask(outline, height, width) for outline in found.outlines]
            except ValueError as error:
                raise ValueError(f"{self._params.boxes}: {image['image_id']}: {error}") from error
        scored = [[*box, float(score)] for box, score in zip(boxes, () if found is None else found.scores, strict=True)]
        return {
            **carried(image),
            "method": self._method,
            "source": self._stage,
            "boxes": [dict(zip(_CORNERS, box, strict=True)) for box in scored],
            "masks": masks,
            "area_fraction": _covered(masks, height, width) if masks else None,
            "contrast": None,
            "components": len(boxes),
            "flag": None if boxes else _NO_BOX,
            "threshold": None,
            "threshold_choice": None,
            "component_rule": None,
            **_UNKNOWN,
        }


def open_maps(place: str) -> MapSource:
    """The maps at a path or URI. Raises: ValueError and OSError for files that cannot be read."""
    parent, _, name = place.rstrip("/").rpartition("/")
    if name.lower().endswith(PARQUET):
        files = Files(parent or ("/" if place.startswith("/") else "."))
        return ParquetMaps([name], files.open)
    files = Files(place)
    names = files.names("")
    tables = [name for name in names if name.lower().endswith(PARQUET)]
    return ParquetMaps(tables, files.open) if tables and tables == names else _NpyFolder(files)


def open_boxes(place: str) -> FoundBoxes:
    """The boxes in a file. Raises: ValueError and OSError for a file that cannot be read."""
    parent, _, name = place.rpartition("/")
    data = Files(parent or ("/" if place.startswith("/") else ".")).get(name)
    try:
        return parse_coco(data) if name.lower().endswith(".json") else FoundBoxes.of_rows(parse_boxes(data, name))
    except ForeignInputError:
        raise
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


class _NpyFolder:
    """Maps ``<image id>.npy`` of a folder."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def read(self, image_ids: Sequence[str]) -> Iterator[tuple[str, np.ndarray | ValueError]]:
        """Image id and map (h, w), or an error about its file."""
        for image_id in image_ids:
            try:
                yield image_id, parse_npy(self._files.get(f"{image_id}.npy"))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (UnsafePathError, ValueError) as error:
                yield image_id, ValueError(f"{image_id}.npy: {error}")


def _check_size(found: ImageBoxes, width: int, height: int) -> None:
    if found.size is not None and found.size != (width, height):
        raise ValueError(f"its size there is {found.size[0]} x {found.size[1]}, and here {width} x {height} pixels")


def _covered(masks: Sequence[Rle], height: int, width: int) -> float:
    """The fraction of an image that its masks cover."""
    covered = np.zeros((height, width), bool)
    for mask in masks:
        covered |= decode(mask)
    return float(covered.mean())
