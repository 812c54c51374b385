"""A folder that Hugging Face's `load_dataset` reads: Parquet files per split, and a card that describes them.

A row is an image: `image_id`, `label`, `width`, `height`, and `objects` as the Hub's detection data sets have them,
`bbox` being x, y, width, height in pixels. Pictures are embedded (`image`, decoded on access), or referred to by
`image_uri`.
"""

import io
import json
from collections.abc import Iterator, Sequence
from itertools import groupby

import pyarrow as pa
import pyarrow.parquet as pq

from stages.formats.contract import Content, File, Joined, Made, Read
from stages.formats.entries import Entry, Picture
from stages.vision import boxes, masks

__all__ = ["HuggingFace"]

_OBJECTS = pa.struct(
    [
        ("bbox", pa.list_(pa.list_(pa.float32()))),
        ("category", pa.list_(pa.int64())),
        ("area", pa.list_(pa.float64())),
        ("score", pa.list_(pa.float32())),
        ("mask_counts", pa.list_(pa.string())),
    ]
)
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


class HuggingFace:
    """Parquet with features. embed: pictures are in it. outlined: `mask_counts` are COCO run-length codes."""

    def __init__(self, embed: bool, outlined: bool) -> None:
        self._embed, self._outlined = embed, outlined

    def part(self, number: int, entries: Sequence[Entry], first: int, read: Read) -> Iterator[Made]:
        """One file per split."""
        rows: dict[str, list[dict[str, object]]] = {}
        for picture, own in groupby(entries, key=lambda entry: entry.picture):
            rows.setdefault(picture.split, []).append(self._row(picture, list(own), read))
        for split, of_split in rows.items():
            file = io.BytesIO()
            pq.write_table(pa.Table.from_pylist(of_split, self._schema), file, compression="zstd")
            yield File(f"data/{split}-{number:06d}.parquet", file.getvalue())

    def closing(self, content: Content) -> Iterator[File | Joined]:
        """The dataset card."""
        splits = [split for split, images in content.counts.images.items() if images]
        yield File("README.md", self._card(content, splits).encode())

    @property
    def _schema(self) -> pa.Schema:
        picture = ("image", _IMAGE) if self._embed else ("image_uri", pa.string())
        fixed = [("image_id", pa.string()), ("width", pa.int32()), ("height", pa.int32()), ("label", pa.int64())]
        return pa.schema([picture, *fixed, ("objects", _OBJECTS)])

    def _row(self, picture: Picture, entries: Sequence[Entry], read: Read) -> dict[str, object]:
        found = [(entry, place) for entry in entries for place in range(len(entry.boxes))]
        rles = [entry.masks[place] if self._outlined and entry.masks else None for entry, place in found]
        corners = [entry.boxes[place] for entry, place in found]
        areas = [
            float(boxes.area(box)) if rle is None else masks.area(rle) for box, rle in zip(corners, rles, strict=True)
        ]
        shown = (
            {"image": {"bytes": read(picture), "path": picture.image_id}} if self._embed else {"image_uri": picture.uri}
        )
        return {
            **shown,
            "image_id": picture.image_id,
            "width": picture.width,
            "height": picture.height,
            "label": picture.category,
            "objects": {
                "bbox": [boxes.xyxy_to_xywh(box).tolist() for box in corners],
                "category": [entry.category for entry, _ in found],
                "area": areas,
                "score": [entry.scores[place] for entry, place in found],
                "mask_counts": [None if rle is None else rle["counts"] for rle in rles],
            },
        }

    def _card(self, content: Content, splits: Sequence[str]) -> str:
        """The card: YAML for the Hub's libraries, then text for people."""
        names = "".join(
            f"'{number}': {json.dumps(name, ensure_ascii=False)}\n" for number, name in enumerate(content.classes)
        )
        labels = f"class_label:\n  names:\n{_indented(names, 4)}"
        objects = (
            "- name: bbox\n  list:\n    list: float32\n"
            f"- name: category\n  list:\n{_indented(labels, 4)}"
            "- name: area\n  list: float64\n- name: score\n  list: float32\n- name: mask_counts\n  list: string\n"
        )
        features = (
            ("- name: image\n  dtype: image\n" if self._embed else "- name: image_uri\n  dtype: string\n")
            + "- name: image_id\n  dtype: string\n- name: width\n  dtype: int32\n- name: height\n  dtype: int32\n"
            + f"- name: label\n  dtype:\n{_indented(labels, 4)}- name: objects\n  struct:\n{_indented(objects, 2)}"
        )
        counts = content.counts
        return (
            "---\n"
            "tags: [object-detection]\n"
            f"dataset_info:\n  features:\n{_indented(features, 2)}"
            "configs:\n- config_name: default\n  data_files:\n"
            + "".join(f"  - split: {split}\n    path: data/{split}-*.parquet\n" for split in splits)
            + f"---\n\n# {content.description}\n\n"
            + "".join(f"- {split}: {counts.images[split]} images, {counts.boxes[split]} boxes\n" for split in splits)
        )


def _indented(text: str, by: int) -> str:
    return "".join(f"{' ' * by}{line}\n" for line in text.rstrip("\n").split("\n"))
