"""What a reader finds in a data set before any image is opened, and how split dev is taken from train."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.base.dataset_uri import dataset_uri
from pipeline.base.errors import UsageError
from pipeline.base.hashing import DIGITS, fingerprint
from pipeline.contract.context import ImagePlace
from schemas.types import BOXES

DEV_BITS = 64

CANDIDATES = pa.schema(
    [
        ("image_id", pa.string()),
        ("uri", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("row", pa.int64()),
        ("trouble", pa.string()),
        ("label", pa.int32()),
        ("label_name", pa.string()),
        ("split", pa.string()),
        ("boxes", BOXES),
        ("mask_uris", pa.list_(pa.string())),
        ("ignore_uris", pa.list_(pa.string())),
        ("fingerprint", pa.string()),
    ]
)

Box = tuple[float, float, float, float]


class Mask(NamedTuple):
    """A file of a ground-truth mask. uri, stamp: as in `Found`."""

    uri: str
    stamp: str


class Found(NamedTuple):
    """One image of a data set, as its reader lists it.

    uri: path below the data set's root, or the URI of a file elsewhere. stamp: changes when the file does. boxes:
    ground truth, half-open pixels; None: the data has none. masks, ignores: ground-truth masks, and masks of regions
    that are not scored. offset, length: byte range of an image that is a part of a file. row: row number, from 0, of an
    image in a Parquet file; then `uri` ends with ``#`` and the column, ``train.parquet#image.bytes``. trouble: why it
    cannot be opened, which is the reason of its quarantine.
    """

    image_id: str
    uri: str
    stamp: str
    label_name: str
    split: str
    boxes: Sequence[Box] | None = None
    masks: Sequence[Mask] = ()
    ignores: Sequence[Mask] = ()
    offset: int | None = None
    length: int | None = None
    row: int | None = None
    trouble: str | None = None

    @property
    def place(self) -> ImagePlace:
        """Where its bytes are."""
        return {"uri": self.uri, "offset": self.offset, "length": self.length, "row": self.row}

    @property
    def is_annotated(self) -> bool:
        """Whether it has ground truth."""
        return bool(self.boxes or self.masks or self.ignores)


@dataclass(frozen=True)
class Scan:
    """All images of a data set and its class names, sorted; a label is an index into them.

    left_out: files that are not listed and why, in words, for the log: "2 files that are no images (.xml)". has_dev:
    the data set has a split dev of its own, so no image of train is moved to dev.
    """

    images: Sequence[Found]
    classes: Sequence[str] = field(default=())
    left_out: Sequence[str] = ()
    has_dev: bool = False

    @classmethod
    def of(cls, images: Sequence[Found], left_out: Sequence[str] = ()) -> "Scan":
        """A scan whose classes are those of its images."""
        return cls(images, sorted({image.label_name for image in images}), left_out)

    @property
    def labels(self) -> dict[str, int]:
        """Class name -> label."""
        return {name: label for label, name in enumerate(self.classes)}


def is_dev(image_id: str, fraction: float) -> bool:
    """Whether a training image belongs to `dev`: its hash is in the lowest `fraction` of all hashes.

    A fixed cut in hash space, not a rank, so that no image changes its split when others are added.
    """
    digest = hashlib.sha256(image_id.encode()).digest()
    return int.from_bytes(digest[: DEV_BITS // 8], "big") < fraction * 2**DEV_BITS


class Candidate(NamedTuple):
    """An image with its label, its final split, and the fingerprint of its id, label, class name and split.

    The fingerprint does not cover the content of its file; the stamp tells whether that was read.
    """

    image: Found
    label: int
    split: str
    fingerprint: str


class Candidates:
    """The images of a scan in order, each made on access, for a million of them are large.

    order: indices of the images in the scan. held_out: whether each image, in this order, moves from train to dev.
    fingerprints: those of the images, in this order, as numbers, (N,) uint64.
    """

    def __init__(
        self, scan: Scan, order: Sequence[int], held_out: Sequence[int], fingerprints: npt.NDArray[np.uint64]
    ) -> None:
        self.fingerprints = fingerprints
        self._images, self._order, self._held_out = scan.images, order, held_out
        self._labels = scan.labels

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, place: int) -> Candidate:
        image = self._images[self._order[place]]
        split = "dev" if self._held_out[place] else image.split
        return Candidate(image, self._labels[image.label_name], split, f"{int(self.fingerprints[place]):0{DIGITS}x}")

    def __iter__(self) -> Iterator[Candidate]:
        return map(self.__getitem__, range(len(self)))

    def at(self, places: Iterable[int]) -> list[Candidate]:
        """The candidates at some indices."""
        return [self[place] for place in places]


def candidates(scan: Scan, dev_fraction: float) -> Candidates:
    """The images in the order of their ids, or of table rows, with `dev` taken from `train`.

    A data set that has a `dev` of its own keeps it, and all of its `train`.

    In row order, the worker of a shard reads the pages of a table in sequence, each of them once.

    Raises:
        UsageError: no images at all, or one image id twice.
    """
    if not scan.images:
        raise UsageError("dataset: there are no images")
    labels, held_out, digests = scan.labels, bytearray(), bytearray()
    before, ordered, in_tables = "", True, False
    taken = 0.0 if scan.has_dev else dev_fraction
    for image in scan.images:
        ordered, before = ordered and before < image.image_id, image.image_id
        in_tables = in_tables or image.row is not None
        is_held_out = image.split == "train" and is_dev(image.image_id, taken)
        held_out.append(is_held_out)
        digests += _digest_of(image, labels[image.label_name], "dev" if is_held_out else image.split)
    fingerprints = np.frombuffer(digests, ">u8").astype(np.uint64)
    if ordered:
        return Candidates(scan, range(len(scan.images)), held_out, fingerprints)
    order = _order([image.image_id for image in scan.images])
    if in_tables:
        order.sort(key=lambda place: (scan.images[place].uri, scan.images[place].row or 0))
    return Candidates(scan, order, [held_out[place] for place in order], fingerprints[order])


def _order(ids: Sequence[str]) -> list[int]:
    """The indices that sort the ids. Raises UsageError for an id that is there twice."""
    order = sorted(range(len(ids)), key=ids.__getitem__)
    for before, after in pairwise(order):
        if ids[before] == ids[after]:
            raise UsageError(f"dataset: image id {ids[after]!r} twice")
    return order


def as_table(found: Iterable[Candidate], stage: str) -> pa.Table:
    """The candidates that a stage lists as a table for its workers, schema `CANDIDATES`.

    The first table that is made from Python objects imports pandas.
    """
    rows = [
        {
            "image_id": image.image_id,
            "uri": dataset_uri(stage, image.uri),
            "offset": image.offset,
            "length": image.length,
            "row": image.row,
            "trouble": image.trouble,
            "label": label,
            "label_name": image.label_name,
            "split": split,
            "boxes": _boxes(image.boxes),
            "mask_uris": [dataset_uri(stage, mask.uri) for mask in image.masks],
            "ignore_uris": [dataset_uri(stage, mask.uri) for mask in image.ignores],
            "fingerprint": own,
        }
        for image, label, split, own in found
    ]
    return pa.Table.from_pylist(rows, schema=CANDIDATES)


def _boxes(boxes: Sequence[Box] | None) -> list[dict[str, float]] | None:
    return None if boxes is None else [dict(zip(("x0", "y0", "x1", "y1"), box, strict=True)) for box in boxes]


def annotations(found: Iterable[Candidate]) -> str:
    """The fingerprint of the ground truth of these images; empty where there is none."""
    return _digest(
        (image.image_id, image.boxes, [mask.uri for mask in image.masks], [mask.uri for mask in image.ignores])
        for image, *_ in found
        if image.is_annotated
    )


def boxed(found: Iterable[Candidate]) -> dict[str, int]:
    """Split -> number of these images with ground-truth boxes; splits without any are left out."""
    return dict(sorted(Counter(row.split for row in found if row.image.boxes).items()))


def _digest(said: Iterable[object]) -> str:
    lines = [repr(each) for each in said]
    return fingerprint(lines) if lines else ""


def _digest_of(image: Found, label: int, split: str) -> bytes:
    """The fingerprint of an image's id, label, class name and split, as bytes."""
    said = (image.image_id, label, image.label_name, split)
    return hashlib.sha256(repr(said).encode()).digest()[: DIGITS // 2]
