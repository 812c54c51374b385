"""Exports in memory: the files that a format makes of rows, joined as the command joins them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from stages.formats.coco import Coco
from stages.formats.contract import Content, Counts, Exporter, Joined, Piece, Pieces
from stages.formats.entries import Choice, Entry, Picture, entry_of, picture_of
from stages.formats.names import plain_name

Row = Mapping[str, Any]

ALL = Choice(None, None)
"""Every box."""


def entries_of(images: Sequence[Row], rows: Sequence[Row], choice: Choice = ALL) -> list[Entry]:
    """The entries of rows of pseudo_labels or predictions, by image; those without a box are left out."""
    names = {image["label"]: image["label_name"] for image in images}
    places = {label: place for place, label in enumerate(sorted(names))}
    numbers = {image_id: number for number, image_id in enumerate(sorted(i["image_id"] for i in images), start=1)}
    pictures: dict[str, Picture] = {}
    for image in images:
        image_id = image["image_id"]
        said = {"orientation": None, "turned": None, "uri": f"data/{image_id}", **image}
        place = places[image["label"]]
        pictures[image_id] = picture_of(said, numbers[image_id], place, image["split"], plain_name(image_id))
    made = (
        entry_of(
            pictures[row["image_id"]],
            {"source": "stage", **row},
            choice,
            names[row["label"]],
            places[row["label"]],
        )
        for row in sorted(rows, key=lambda row: (row["image_id"], row["method"], row["label"]))
    )
    return [entry for entry in made if entry.boxes]


def files_of(exporter: Exporter, parts: Sequence[Sequence[Entry]], classes: Sequence[str]) -> dict[str, bytes]:
    """All files of an export by their names."""
    files: dict[str, bytes] = {}
    pieces: dict[str, list[bytes]] = {}
    counts, first = Counts(), 0
    for number, entries in enumerate(parts):
        for made in exporter.part(number, entries, first, lambda picture: picture.image_id.encode()):
            if isinstance(made, Piece):
                pieces.setdefault(made.section, []).append(made.data)
            else:
                files[made.name] = made.data if isinstance(made.data, bytes) else made.data.image_id.encode()
        first += sum(len(entry.boxes) for entry in entries)
    for picture in {entry.picture for entries in parts for entry in entries}:
        counts.images[picture.split] = counts.images.get(picture.split, 0) + 1
        counts.boxes.setdefault(picture.split, 0)
    for last in exporter.closing(Content(counts, classes, "made in a test", {})):
        if isinstance(last, Joined):
            files[last.name] = b"".join(_content(each, pieces) for each in last.content)
        elif isinstance(last.data, bytes):
            files[last.name] = last.data
    return files


def coco_of(images: Sequence[Row], rows: Sequence[Row], outlines: str | None = "rle") -> dict[str, dict[str, Any]]:
    """The COCO document of each split."""
    names = {image["label"]: image["label_name"] for image in images}
    classes = [names[label] for label in sorted(names)]
    files = files_of(Coco(outlines, folder=False), [entries_of(images, rows)], classes)
    return {name.removeprefix("coco_").removesuffix(".json"): json.loads(data) for name, data in files.items()}


def _content(content: bytes | Pieces, pieces: Mapping[str, Sequence[bytes]]) -> bytes:
    return content if isinstance(content, bytes) else content.separator.join(pieces.get(content.section, []))
