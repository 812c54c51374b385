"""What tests of readers share: small pictures, what a scan says of images, and their bytes as a worker reads them."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.base.dataset_uri import dataset_uri
from pipeline.store.files import Files
from pipeline.store.store import Store
from pipeline.worker.local_context import LocalContext
from stages.ingest.reader import Reader
from stages.ingest.recognition import Tree
from stages.ingest.scan import Found, Scan


def picture(number: int, kind: str = "JPEG") -> bytes:
    """A picture of its own, 12 x 8 pixels."""
    pixels = np.random.default_rng(number).integers(0, 255, (8, 12, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def in_memory(folder: Path, name: str) -> str:
    """The URI of a copy of a folder's files in memory, as a bucket would have them."""
    files = Files(f"memory://{name}")
    for path in folder.rglob("*"):
        if path.is_file():
            files.put(path.relative_to(folder).as_posix(), path.read_bytes())
    return f"memory://{name}"


def labelled(scan: Scan) -> dict[str, tuple[str, str]]:
    """Image id -> class and split."""
    return {image.image_id: (image.label_name, image.split) for image in scan.images}


def read(root: object, image: Found) -> bytes:
    """The bytes of an image."""
    context = LocalContext(Store("memory://store"), roots={"ingest": str(root)})
    return context.read_image({**image.place, "uri": dataset_uri("ingest", image.uri)})


def recognised(reader: type[Reader], root: object) -> tuple[str, str] | None:
    """Why a reader takes a root, and what is missing."""
    match = reader.recognise(Tree(str(root)))
    return None if match is None else (match.why, match.missing)
