"""Rows of the score_maps table: making them, and reading their maps."""

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import pyarrow as pa

from stages.vision.image_rows import Carried, ImageRow, carried
from stages.vision.model_card import ModelCard
from stages.vision.score_maps import to_half

__all__ = ["Provenance", "ProvenanceColumns", "ScoreMapRow", "map_arrays", "score_map_row", "with_map"]


class ProvenanceColumns(TypedDict):
    """The columns that say where a per-image row comes from."""

    backbone: str | None
    tap: str | None
    input_size: int | None
    weights_hash: str | None
    seed: int | None


class ScoreMapRow(Carried, ProvenanceColumns):
    """A row of score_maps; described column by column in schemas. map: flat float16 when it is written."""

    method: str
    height: int
    width: int
    map: np.ndarray
    flag: str | None


@dataclass(frozen=True)
class Provenance:
    """The network behind a row: its card, the layer that was read, and the side of its input in pixels."""

    card: ModelCard
    tap: str | None
    input_size: int

    def columns(self) -> ProvenanceColumns:
        """The provenance as columns of per-image tables."""
        card = self.card
        return {
            "backbone": card.backbone,
            "tap": self.tap,
            "input_size": self.input_size,
            "weights_hash": card.weights_hash,
            "seed": card.seed,
        }


def score_map_row(
    image: ImageRow,
    method: str,
    score_map: np.ndarray,
    provenance: Provenance,
    *,
    label: int | None = None,
    flag: str | None = None,
) -> ScoreMapRow:
    """The row of an image's map ``(h, w)``, stored as float16. label: class of the map, if not the image's own."""
    height, width = score_map.shape
    row: ScoreMapRow = {
        **carried(image),
        "method": method,
        "height": height,
        "width": width,
        "map": (score_map if score_map.dtype == np.float16 else to_half(score_map)).ravel(),
        "flag": flag,
        **provenance.columns(),
    }
    if label is not None:
        row["label"] = label
    return row


def with_map(row: ScoreMapRow, method: str, score_map: np.ndarray, flag: str | None) -> ScoreMapRow:
    """The row with another map ``(h, w)``, method and flag; its provenance stays the same."""
    height, width = score_map.shape
    return {
        **row,
        "method": method,
        "height": height,
        "width": width,
        "map": to_half(score_map).ravel(),
        "flag": flag,
    }


def map_arrays(table: pa.Table) -> list[np.ndarray]:
    """The maps of a score_maps table with columns map, height and width: each ``(height, width)`` float16, a view."""
    column = table.column("map").combine_chunks()
    flat, offsets = column.values.to_numpy(zero_copy_only=False), column.offsets.to_numpy()
    shapes = zip(table.column("height").to_pylist(), table.column("width").to_pylist(), strict=True)
    return [flat[offsets[i] : offsets[i + 1]].reshape(shape) for i, shape in enumerate(shapes)]
