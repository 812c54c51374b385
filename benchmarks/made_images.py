"""Images made from numbers alone, for machines that have no data: a bright textured disc on a smooth background."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.base.params import option, reads
from pipeline.contract.context import Context
from pipeline.contract.stage import Stage, one_to_one
from pipeline.store.records import Inputs, Shard, ShardResult, Task, shard_key
from schemas import TABLES

WIDTH, HEIGHT = 160, 120
_PHOTOGRAPH, _GRAIN = (500, 375), 12.0
CLASSES = 4
FILES = 64


@dataclass(frozen=True)
class MadeImagesParams:
    """Parameters of the stage below. Rows beyond the number of files repeat the files."""

    root: str = option("", "folder for the files")
    shards: int = option(1, "shards")
    rows: int = option(FILES, "rows a shard")
    photographs: bool = option(False, "files of ILSVRC's usual size and detail, 500x375 pixels and some 110 kB")


class MadeImages(Stage[MadeImagesParams]):
    """Writes the files and the images table. The class is the disc's colour and the direction of its stripes."""

    kind = "made_images"
    version = 1
    Params = MadeImagesParams
    outputs = ("images",)

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """Shards that differ in their number alone."""
        rows, counts = self.params.rows, {f"class{label}": self.params.rows // CLASSES for label in range(CLASSES)}
        return [
            Shard(shard_key(recipe, {}, {"shard": number}), args={"shard": number}, rows=rows, labels={"train": counts})
            for number in range(self.params.shards)
        ]

    def worker(self, context: Context) -> "_Painter":
        """Needs no set-up."""
        return _Painter(self.params)


class _Painter:
    def __init__(self, params: MadeImagesParams) -> None:
        self._params = params

    def __call__(self, task: Task) -> ShardResult:
        shard = task.shard.args["shard"]
        assert isinstance(shard, int), "as planned"
        first = shard * self._params.rows
        rows = [self._row(number) for number in range(first, first + self._params.rows)]
        return ShardResult({"images": TABLES["images"].from_rows(rows)})

    def _row(self, number: int) -> dict[str, object]:
        file = Path(self._params.root) / f"{number % FILES}.jpg"
        if not file.exists():
            image, _ = paint(number % FILES)
            shown = _photograph(image, number) if self._params.photographs else image
            file.write_bytes(cv2.imencode(".jpg", shown)[1].tobytes())
        width, height = _PHOTOGRAPH if self._params.photographs else (WIDTH, HEIGHT)
        label = number % CLASSES
        return {
            "image_id": f"{number:06d}",
            "uri": str(file),
            "width": width,
            "height": height,
            "label": label,
            "label_name": f"class{label}",
            "split": "train",
            "content_hash": hashlib.sha256(file.read_bytes()).hexdigest(),
        }


@dataclass(frozen=True)
class KnownBoxesParams:
    """Parameters of the stage below."""

    images: str = reads("images", "ingest", "the images")


class KnownBoxes(Stage[KnownBoxesParams]):
    """The discs' own boxes as pseudo labels, so that a training needs no other stage."""

    kind = "known_boxes"
    version = 1
    Params = KnownBoxesParams
    outputs = ("pseudo_labels",)

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """One shard for each shard of images."""
        return one_to_one(recipe, inputs["images"][0], "images", extra={})

    def worker(self, context: Context) -> "_Copier":
        """Needs no set-up."""
        return _Copier(context)


class _Copier:
    def __init__(self, context: Context) -> None:
        self._context = context

    def __call__(self, task: Task) -> ShardResult:
        rows = self._context.table(task.inputs["images"][0], "images").to_pylist()
        return ShardResult({"pseudo_labels": TABLES["pseudo_labels"].from_rows([_pseudo_label(row) for row in rows])})


def _pseudo_label(row: Mapping[str, Any]) -> dict[str, Any]:
    _, corners = paint(int(row["image_id"]) % FILES)
    return {
        **{name: row[name] for name in ("image_id", "label", "split")},
        "method": "known",
        "source": "boxes",
        "image_height": row["height"],
        "image_width": row["width"],
        "boxes": [{**dict(zip(("x0", "y0", "x1", "y1"), corners, strict=True)), "score": 1.0}],
        "masks": [],
        "area_fraction": 0.0,
        "components": 1,
        "threshold": 0.0,
        "threshold_choice": "fixed",
        "component_rule": "largest",
    }


def _photograph(image: np.ndarray, number: int) -> np.ndarray:
    """The image enlarged, with grain that makes its file as large as a photograph's."""
    large = cv2.resize(image, _PHOTOGRAPH, interpolation=cv2.INTER_CUBIC)
    grain = np.random.default_rng(number).normal(0.0, _GRAIN, large.shape)
    return np.clip(large + grain, 0, 255).astype(np.uint8)


def paint(number: int) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """One image (120, 160, 3) uint8 and the disc's box, half-open pixels."""
    generator = np.random.default_rng(number)
    coarse = generator.uniform(20, 110, (4, 5, 3)).astype(np.float32)
    image = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    radius = int(generator.integers(15, 40))
    x, y = (int(generator.integers(radius, side - radius)) for side in (WIDTH, HEIGHT))
    columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    label = number % CLASSES
    stripes = 40 * np.sin((columns if label % 2 else rows) / 2.0)
    colour = np.array([(230, 120, 120), (120, 230, 120), (120, 120, 230), (220, 220, 120)][label])
    disc = (columns - x) ** 2 + (rows - y) ** 2 < radius**2
    image[disc] = (colour + stripes[..., None])[disc]
    inside = np.flatnonzero(disc.any(axis=0)), np.flatnonzero(disc.any(axis=1))
    box = (int(inside[0][0]), int(inside[1][0]), int(inside[0][-1]) + 1, int(inside[1][-1]) + 1)
    return np.clip(image, 0, 255).astype(np.uint8), box
