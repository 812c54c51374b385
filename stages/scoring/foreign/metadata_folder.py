"""Reads one split folder of the standard evaluator's metadata: image_ids, class_labels, image_sizes, localization."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from stages.scoring.arrow_tables import Truth
from stages.scoring.foreign.errors import ForeignInputError
from stages.scoring.metadata import (
    BoxMetadata,
    MaskFiles,
    names_masks,
    parse_boxes,
    parse_class_labels,
    parse_image_ids,
    parse_mask_files,
    parse_sizes,
)
from stages.scoring.ragged import from_lists


class MetadataFolder(NamedTuple):
    """The images of a split in file order, with boxes, or (OpenImages) with the files of their masks."""

    dataset: str
    split: str
    truth: Truth
    masks: tuple[MaskFiles, ...] | None

    @property
    def boxed(self) -> bool:
        """Whether the ground truth is boxes."""
        return self.masks is None


def read_boxes(folder: Path) -> BoxMetadata:
    """Sizes and boxes of a split; class labels are not needed. Raises ForeignInputError."""
    try:
        image_ids = parse_image_ids(_lines(folder, "image_ids.txt"))
        return parse_boxes(image_ids, _lines(folder, "image_sizes.txt"), _lines(folder, "localization.txt"))
    except ForeignInputError:
        raise
    except ValueError as error:
        raise ForeignInputError(f"{folder}: {error}") from error


def read_metadata(folder: Path) -> MetadataFolder:
    """Everything about a split. Raises ForeignInputError, naming file or image id."""
    folder = folder.resolve()
    localization = _lines(folder, "localization.txt")
    try:
        image_ids = parse_image_ids(_lines(folder, "image_ids.txt"))
        labels = parse_class_labels(_lines(folder, "class_labels.txt"), image_ids)
        if names_masks(localization):
            sizes = parse_sizes(image_ids, _lines(folder, "image_sizes.txt"))
            boxes, masks = from_lists([[] for _ in image_ids]), parse_mask_files(image_ids, localization)
        else:
            _, sizes, boxes = parse_boxes(image_ids, _lines(folder, "image_sizes.txt"), localization)
            masks = None
    except ForeignInputError:
        raise
    except ValueError as error:
        raise ForeignInputError(f"{folder}: {error}") from error
    return MetadataFolder(folder.parent.name, folder.name, Truth(image_ids, np.asarray(sizes), labels, boxes), masks)


def _lines(folder: Path, name: str) -> list[str]:
    path = folder / name
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise ForeignInputError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ForeignInputError(f"{path}: not a text file") from error
    if not lines:
        raise ForeignInputError(f"{path}: empty")
    return lines
