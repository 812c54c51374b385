"""WebDataset: tar files of samples, <name>.json beside <name>.jpg, one per part and split, listed in <split>.txt.

The JSON of a sample has image_id, class, width, height, objects (bbox x, y, width, height in pixels, category, class,
score, mask) and, where pictures are not embedded, their `uri`.
"""

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from itertools import groupby

from stages.formats.contract import Content, File, Joined, Made, Piece, Pieces, Read
from stages.formats.entries import Entry, Picture
from stages.vision.boxes import xyxy_to_xywh

__all__ = ["WebDataset"]


class WebDataset:
    """Tar shards. embed: pictures are in them."""

    def __init__(self, embed: bool, outlined: bool) -> None:
        self._embed, self._outlined = embed, outlined

    def part(self, number: int, entries: Sequence[Entry], first: int, read: Read) -> Iterator[Made]:
        """One tar file per split, without times and owners, so that the same samples give the same bytes."""
        tars: dict[str, tuple[io.BytesIO, tarfile.TarFile]] = {}
        for picture, own in groupby(entries, key=lambda entry: entry.picture):
            if picture.split not in tars:
                file = io.BytesIO()
                tars[picture.split] = file, tarfile.TarFile(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)
            _, tar = tars[picture.split]
            if self._embed:
                _add(tar, f"{picture.name}{picture.suffix}", read(picture))
            _add(
                tar,
                f"{picture.name}.json",
                json.dumps(self._said(picture, list(own)), sort_keys=True, allow_nan=False).encode(),
            )
        for split, (file, tar) in tars.items():
            tar.close()
            name = f"{split}-{number:06d}.tar"
            yield File(name, file.getvalue())
            yield Piece(split, f"{name}\n".encode())

    def closing(self, content: Content) -> Iterator[File | Joined]:
        """The names of the classes by number, and what is in the files."""
        said = {
            "description": content.description,
            "classes": list(content.classes),
            "images": content.counts.images,
            "boxes": content.counts.boxes,
        }
        for split, images in content.counts.images.items():
            if images:
                yield Joined(f"{split}.txt", [Pieces(split)])
        yield File("dataset.json", json.dumps(said, sort_keys=True, indent=1, allow_nan=False).encode())

    def _said(self, picture: Picture, entries: Sequence[Entry]) -> dict[str, object]:
        said: dict[str, object] = {
            "image_id": picture.image_id,
            "class": picture.class_name,
            "width": picture.width,
            "height": picture.height,
            "objects": [self._object(entry, place) for entry in entries for place in range(len(entry.boxes))],
        }
        return said if self._embed else {**said, "uri": picture.uri}

    def _object(self, entry: Entry, place: int) -> dict[str, object]:
        return {
            "bbox": xyxy_to_xywh(entry.boxes[place]).tolist(),
            "category": entry.category,
            "class": entry.class_name,
            "score": entry.scores[place],
            "mask": entry.masks[place] if self._outlined and entry.masks is not None else None,
        }


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    header = tarfile.TarInfo(name)
    header.size = len(data)
    tar.addfile(header, io.BytesIO(data))
