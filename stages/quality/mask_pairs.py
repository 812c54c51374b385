"""IoU of the masks that different sources found in the same image, read shard by shard."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest

import numpy as np
import pyarrow as pa

from stages.scoring.ragged import FloatArray
from stages.vision.masks import Rle, iou_of_unions

__all__ = ["mask_pairs"]

_KEY = ("image_id", "label")
COLUMNS = (*_KEY, "masks")

Key = tuple[str, int]


def mask_pairs(images: pa.Table, sources: Sequence[Iterator[pa.Table]]) -> FloatArray:
    """IoU ``(S, S, N)`` float64 of the unions of an image's masks, for every two of S sources; NaN without masks.

    images: table of N rows with image_id and label. sources: the shards of each source, as tables of `COLUMNS`. Masks
    of an image stay in memory until every source has delivered its own: briefly, if all sources are sharded alike.
    """
    keys = zip(images.column("image_id").to_pylist(), images.column("label").to_pylist(), strict=True)
    place = {key: row for row, key in enumerate(keys)}
    found = np.full((len(sources), len(sources), len(place)), np.nan)
    held: dict[Key, dict[int, Sequence[Rle]]] = {}
    for shards in zip_longest(*sources):
        for source, table in enumerate(shards):
            if table is not None:
                _hold(held, source, table)
        for key in [key for key, own in held.items() if len(own) == len(sources)]:
            _compare(found, place[key], held.pop(key))
    for key, own in held.items():
        _compare(found, place[key], own)
    return found


def _hold(held: dict[Key, dict[int, Sequence[Rle]]], source: int, table: pa.Table) -> None:
    for image_id, label, masks in zip(*(table.column(name).to_pylist() for name in COLUMNS), strict=True):
        held.setdefault((image_id, label), {})[source] = masks or ()


def _compare(found: FloatArray, row: int, masks: Mapping[int, Sequence[Rle]]) -> None:
    known = [source for source, own in masks.items() if own]
    for one in known:
        for other in known:
            if one < other:
                found[one, other, row] = found[other, one, row] = iou_of_unions(masks[one], masks[other])
