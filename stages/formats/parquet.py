"""Parquet: one tidy table, labels.parquet, one row per object, best first within its image."""

import io
from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from stages.formats.contract import Content, File, Joined, Made, Piece, Pieces, Read
from stages.formats.entries import Entry, Picture
from stages.vision import masks

__all__ = ["SCHEMA", "Parquet"]

_PICTURE = [("image_id", pa.string()), ("split", pa.string()), ("width", pa.int32()), ("height", pa.int32())]
_RLE = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.string())])
_OBJECT = [
    *((corner, pa.float32()) for corner in ("x0", "y0", "x1", "y1", "score")),
    ("class", pa.string()),
    ("category", pa.int32()),
    ("rank", pa.int32()),
    ("area", pa.float64()),
    ("mask", _RLE),
    *((name, pa.string()) for name in ("source", "method", "flag")),
]
SCHEMA = pa.schema([*_PICTURE, ("uri", pa.string()), *_OBJECT])
"""Boxes are half-open, in pixels of the picture as shown; `mask` is a COCO run-length code with its size; `rank`
counts the boxes of an image from 0; `area` is in pixels, that of the mask where there is one."""

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


class Parquet:
    """One table. folder: whether pictures lie beside it; embed: a column `image` has their bytes."""

    def __init__(self, folder: bool, embed: bool, outlined: bool) -> None:
        self._folder, self._embed, self._outlined = folder, embed, outlined

    def part(self, number: int, entries: Sequence[Entry], first: int, read: Read) -> Iterator[Made]:
        """The rows of a part, and the pictures."""
        columns: dict[str, list[object]] = {name: [] for name in SCHEMA.names}
        pictures: list[object] = []
        ranks: Counter[int] = Counter()
        for entry in entries:
            for place in range(len(entry.boxes)):
                row = {**self._row(entry, place), "rank": ranks[entry.picture.number]}
                ranks[entry.picture.number] += 1
                for name, value in row.items():
                    columns[name].append(value)
            if self._embed:
                data = read(entry.picture)
                pictures += [{"bytes": data, "path": entry.picture.image_id}] * len(entry.boxes)
        table = pa.table({name: pa.array(columns[name], SCHEMA.field(name).type) for name in SCHEMA.names}, SCHEMA)
        if self._embed:
            table = table.append_column("image", pa.array(pictures, _IMAGE))
        file = io.BytesIO()
        pq.write_table(table, file, compression="zstd")
        yield Piece("labels", file.getvalue())
        if self._folder:
            yield from (File(_place(entry.picture), entry.picture) for entry in entries)

    def closing(self, content: Content) -> Iterator[File | Joined]:
        """The table."""
        yield Joined("labels.parquet", [Pieces("labels")], tables=True)

    def _row(self, entry: Entry, place: int) -> dict[str, object]:
        picture, (x0, y0, x1, y1) = entry.picture, entry.boxes[place]
        rle = entry.masks[place] if self._outlined and entry.masks is not None else None
        return {
            "image_id": picture.image_id,
            "split": picture.split,
            "width": picture.width,
            "height": picture.height,
            "uri": _place(picture) if self._folder else picture.uri,
            "x0": x0,
            "y0": y0,
            "x1": x1,
            "y1": y1,
            "score": entry.scores[place],
            "class": entry.class_name,
            "category": entry.category,
            "area": (x1 - x0) * (y1 - y0) if rle is None else masks.area(rle),
            "mask": rle,
            "source": entry.source,
            "method": entry.method,
            "flag": entry.flag,
        }


def _place(picture: Picture) -> str:
    return f"images/{picture.split}/{picture.name}{picture.suffix}"
