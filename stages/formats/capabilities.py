"""Which formats there are, and what each of them can hold."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

__all__ = ["FORMATS", "Allowed", "Format", "Outline", "Pictures"]

Format = Literal["coco", "yolo", "voc", "webdataset", "huggingface", "parquet", "labelstudio"]
Pictures = Literal["reference", "copy", "link", "embed"]
Outline = Literal["rle", "polygon", "none"]


class Allowed(NamedTuple):
    """What a format can hold. outlines: the default first."""

    pictures: tuple[Pictures, ...]
    outlines: tuple[Outline, ...]


_BESIDE: tuple[Pictures, ...] = ("reference", "copy", "link")

FORMATS: Mapping[Format, Allowed] = MappingProxyType(
    {
        "coco": Allowed(_BESIDE, ("rle", "polygon", "none")),
        "yolo": Allowed(_BESIDE, ("none", "polygon")),
        "voc": Allowed(_BESIDE, ("rle", "none")),
        "webdataset": Allowed(("reference", "embed"), ("rle", "none")),
        "huggingface": Allowed(("reference", "embed"), ("rle", "none")),
        "parquet": Allowed((*_BESIDE, "embed"), ("rle", "none")),
        "labelstudio": Allowed(_BESIDE, ("none", "polygon")),
    }
)
