"""The formats by name."""

from collections.abc import Callable, Mapping

from stages.formats.capabilities import Format, Outline, Pictures
from stages.formats.coco import Coco
from stages.formats.contract import Exporter
from stages.formats.huggingface import HuggingFace
from stages.formats.labelstudio import LabelStudio
from stages.formats.parquet import Parquet
from stages.formats.voc import Voc
from stages.formats.webdataset import WebDataset
from stages.formats.yolo import Yolo

__all__ = ["exporter"]

Make = Callable[[bool, bool, Outline | None, int], Exporter]
"""(pictures lie in a folder, pictures are embedded, form of the masks, number of classes) -> the format."""

_MAKE: Mapping[Format, Make] = {
    "coco": lambda folder, embed, form, classes: Coco(form, folder),
    "yolo": lambda folder, embed, form, classes: Yolo(form is not None, folder),
    "voc": lambda folder, embed, form, classes: Voc(folder, form is not None, classes),
    "webdataset": lambda folder, embed, form, classes: WebDataset(embed, form is not None),
    "huggingface": lambda folder, embed, form, classes: HuggingFace(embed, form is not None),
    "parquet": lambda folder, embed, form, classes: Parquet(folder, embed, form is not None),
    "labelstudio": lambda folder, embed, form, classes: LabelStudio(folder, form is not None),
}


def exporter(format: Format, pictures: Pictures, form: Outline | None, classes: int) -> Exporter:
    """The exporter of a format that can hold these pictures and masks (`capabilities`). form: None for no masks."""
    return _MAKE[format](pictures in ("copy", "link"), pictures == "embed", form, classes)
