"""Decodes the few images that a page shows, and makes their cards."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.report import gallery
from stages.report.figures import SMALL, heat_uri, photo_uri
from stages.report.gallery import Card, Fact, HeatMap, Layer, Source, Thumbnail
from stages.report.names import Names
from stages.report.reading import BOXES, Row, Tables
from stages.report.sources import KINDS, Images, Judged
from stages.vision.image_rows import IMAGE_COLUMNS, ImageRow

__all__ = ["Cards"]

MOST = 12_000_000
"""Limit of all pictures together, in characters: keeps the page below 15 MB, which a browser opens at once."""

_MAP_COLUMNS = ("image_id", "label", "method", "height", "width", "map", "flag")


@dataclass
class Cards:
    """Makes cards and thumbnails until the page is full. left_out: number of images that did not fit.

    sources: results of each source on the images.
    """

    tables: Tables
    images: Images
    sources: Mapping[Source, Judged]
    layers: Mapping[Source, Layer]
    names: Names
    class_names: Mapping[int, str]
    left_out: int = 0
    _used: int = 0
    _bad: set[str] = field(default_factory=set)

    def cards(self, sets: Mapping[str, Sequence[str]]) -> tuple[Card, ...]:
        """Cards of the images in the named sets of ids, in the order of the sets; undecodable images have none."""
        wanted = list(dict.fromkeys(image_id for ids in sets.values() for image_id in ids))
        rows, found = self._rows(wanted), self._boxes(wanted)
        maps: dict[str, list[tuple[str, Row]]] = {}
        for stage, row in self._read("maps", "score_maps", _MAP_COLUMNS, wanted):
            maps.setdefault(row["image_id"], []).append((stage, row))
        made = []
        for image_id in wanted:
            pixels = self._pixels(rows[image_id])
            if pixels is None or self._is_full():
                continue
            photo, heat_maps = photo_uri(pixels), [self._heat_map(pixels, *each) for each in maps.get(image_id, ())]
            self._used += len(photo) + sum(len(heat.uri) for heat in heat_maps)
            made.append(
                gallery.card(
                    rows[image_id],
                    found.get(image_id, []),
                    list(self._facts(image_id)),
                    photo=photo,
                    heat_maps=heat_maps,
                    class_names=self.class_names,
                    places={name: list(ids).index(image_id) for name, ids in sets.items() if image_id in ids},
                )
            )
        return tuple(made)

    def thumbnails(self, image_ids: Sequence[str], layer: Layer | None) -> dict[str, Thumbnail]:
        """A small picture of each image that can be decoded, with the boxes of one layer."""
        rows, found, made = self._rows(image_ids), self._boxes(image_ids), dict[str, Thumbnail]()
        for image_id in image_ids:
            pixels = self._pixels(rows[image_id])
            if pixels is None or self._is_full():
                continue
            photo = photo_uri(pixels, SMALL)
            self._used += len(photo)
            own = next((each for each in found.get(image_id, ()) if each[0] is layer), None)
            made[image_id] = gallery.thumbnail(rows[image_id], own, photo)
        return made

    def _is_full(self) -> bool:
        full = self._used >= MOST
        self.left_out += full
        return full

    def _pixels(self, row: Row) -> np.ndarray | None:
        if row["image_id"] in self._bad:
            return None
        pixels = self.tables.image(cast("ImageRow", row))
        if pixels is None:
            self._bad.add(row["image_id"])
        return pixels

    def _rows(self, image_ids: Sequence[str]) -> dict[str, Row]:
        """Image id -> row of the images table with `gt_boxes`, its true boxes."""
        rows = {row["image_id"]: row for _, row in self._read("images", "images", IMAGE_COLUMNS, image_ids)}
        known = {
            row["image_id"]: row["boxes"] for _, row in self._read("truth", "truth", ("image_id", "boxes"), image_ids)
        }
        return {image_id: {**row, "gt_boxes": known.get(image_id)} for image_id, row in rows.items()}

    def _boxes(self, image_ids: Sequence[str]) -> dict[str, list[tuple[Layer | None, Row]]]:
        """Image id -> its rows of all sources; a classifier, which gives no boxes, has no layer."""
        found: dict[str, dict[Source, tuple[Layer | None, Row]]] = {}
        for slot, (kind, table) in BOXES.items():
            columns = ("image_id", "method", "boxes", *(("classes",) if kind == "predicted" else ()))
            for stage, row in self._read(slot, table, columns, image_ids):
                source = (kind, row["method"], stage)
                found.setdefault(row["image_id"], {}).setdefault(source, (self.layers.get(source), row))
        return {image_id: [own[source] for source in sorted(own)] for image_id, own in found.items()}

    def _read(
        self, slot: str, table: str, columns: Sequence[str], image_ids: Iterable[str]
    ) -> Iterable[tuple[str, Row]]:
        wanted = pc.field("image_id").isin(pa.array(list(image_ids), pa.string()))
        for stage, part in self.tables.parts(slot, table, columns, wanted):
            for row in part.to_pylist():
                yield stage, row

    def _facts(self, image_id: str) -> Iterable[Fact]:
        place = self.images.places[image_id]
        for source, own in self.sources.items():
            if own.given[place]:
                kind = int(own.kind[place])
                yield Fact(
                    self.layers[source],
                    _number(own.iou[place]),
                    KINDS[kind] if kind >= 0 else None,
                    _number(own.quality[place]),
                    own.flags[place],
                )

    def _heat_map(self, pixels: np.ndarray, stage: str, row: Row) -> HeatMap:
        values = np.asarray(row["map"], np.float32).reshape(row["height"], row["width"])
        return HeatMap(self.names(row["method"], stage), heat_uri(pixels, values), row["flag"])


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
