"""What a reader finds in a data set before any image is opened, and the split that every data set gets."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa

from pipeline.base.errors import UsageError
from schemas.types import BOXES

DEV_BITS = 64

CANDIDATES = pa.schema(
    [
        ("image_id", pa.string()),
        ("uri", pa.string()),
        ("label", pa.int32()),
        ("label_name", pa.string()),
        ("split", pa.string()),
        ("gt_boxes", BOXES),
        ("mask_uri", pa.string()),
        ("fingerprint", pa.string()),
    ]
)

Box = tuple[float, float, float, float]


class Found(NamedTuple):
    """One image of a data set, as its reader lists it. `boxes` are half-open pixels; None: the data has none."""

    image_id: str
    uri: str
    stamp: str
    label_name: str
    split: str
    boxes: Sequence[Box] | None = None
    mask_uri: str | None = None


@dataclass(frozen=True)
class Scan:
    """All images of a data set and its class names, sorted; a label is a position in them."""

    images: Sequence[Found]
    classes: Sequence[str] = field(default=())

    @classmethod
    def of(cls, images: Sequence[Found]) -> "Scan":
        """A scan whose classes are those of its images."""
        return cls(images, sorted({image.label_name for image in images}))


def is_dev(image_id: str, fraction: float) -> bool:
    """Whether a training image belongs to `dev`: its hash is in the lowest `fraction` of all hashes.

    A fixed cut in hash space, not a rank: so no image changes its split when others are added.
    """
    digest = hashlib.sha256(image_id.encode()).digest()
    return int.from_bytes(digest[: DEV_BITS // 8], "big") < fraction * 2**DEV_BITS


class Candidate(NamedTuple):
    """An image with its label, its final split, and a fingerprint that changes with the file or what is said of it."""

    image: Found
    label: int
    split: str
    fingerprint: str


def candidates(scan: Scan, dev_fraction: float) -> list[Candidate]:
    """The images in the order of their ids, `dev` taken from `train`.

    Raises:
        UsageError: no images at all, or one image id twice.
    """
    if not scan.images:
        raise UsageError("dataset: there are no images")
    label_of: Mapping[str, int] = {name: i for i, name in enumerate(scan.classes)}
    found, seen = [], set()
    for image in sorted(scan.images, key=lambda image: image.image_id):
        if image.image_id in seen:
            raise UsageError(f"dataset: image id {image.image_id!r} twice")
        seen.add(image.image_id)
        split = "dev" if image.split == "train" and is_dev(image.image_id, dev_fraction) else image.split
        label = label_of[image.label_name]
        found.append(Candidate(image, label, split, _fingerprint(image, label, split)))
    return found


def as_table(found: Sequence[Candidate]) -> pa.Table:
    """What a worker reads of candidates, schema `CANDIDATES`. The first table made of Python objects loads pandas."""
    rows = [
        {
            "image_id": image.image_id,
            "uri": image.uri,
            "label": label,
            "label_name": image.label_name,
            "split": split,
            "gt_boxes": _boxes(image.boxes),
            "mask_uri": image.mask_uri,
            "fingerprint": fingerprint,
        }
        for image, label, split, fingerprint in found
    ]
    return pa.Table.from_pylist(rows, schema=CANDIDATES)


def _boxes(boxes: Sequence[Box] | None) -> list[dict[str, float]] | None:
    return None if boxes is None else [dict(zip(("x0", "y0", "x1", "y1"), box, strict=True)) for box in boxes]


def _fingerprint(image: Found, label: int, split: str) -> str:
    said = (image.image_id, image.stamp, label, image.label_name, split, image.boxes, image.mask_uri is not None)
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]
