"""Ground-truth masks from a folder of PNG files."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from stages.scoring.evaluator_maps import in_evaluator_frame
from stages.scoring.foreign.errors import ForeignInputError
from stages.scoring.foreign.metadata_folder import MetadataFolder
from stages.scoring.mask_metrics import MaskTruth, evaluation_masks, pixel_histogram
from stages.scoring.metadata import MaskFiles
from stages.scoring.peak_iou import localization_map
from stages.scoring.ragged import FloatArray
from stages.scoring.tally import Tally, histogram_tallies, peak_tallies
from stages.vision.images import ImageError, decode


class MaskFolder(NamedTuple):
    """The masks of some images: those that the metadata lists, or ``root/<image_id without its extension>.png``.

    peaks: whether Peak-IoU is counted; it is not defined with regions to ignore.
    """

    root: Path
    image_ids: tuple[str, ...]
    files: tuple[MaskFiles, ...]
    peaks: bool

    @classmethod
    def of(cls, root: Path, metadata: MetadataFolder) -> "MaskFolder":
        """The masks of a metadata folder. Raises ForeignInputError for a file that is missing or outside of root."""
        image_ids = metadata.truth.image_ids
        files = metadata.masks or tuple(MaskFiles((f"{Path(i).with_suffix('')}.png",), None) for i in image_ids)
        for image_id, own in zip(image_ids, files, strict=True):
            for name in (*own.instances, *filter(None, [own.ignore])):
                if ".." in Path(name).parts or Path(name).is_absolute():
                    raise ForeignInputError(f"{image_id}: mask {name} leads out of the folder of masks")
                if not (root / name).is_file():
                    raise ForeignInputError(f"{image_id}: there is no mask {root / name}")
        return cls(root, image_ids, files, peaks=all(own.ignore is None for own in files))

    def tallies(self, index: int, score_map: FloatArray) -> Iterator[Tally]:
        """PxAP's histogram of one image, its map (h, w); Peak-IoU's counts too, unless there are regions to ignore."""
        own = self.files[index]
        greys = [self._read(index, name) for name in own.instances]
        truth = MaskTruth(greys, [self._read(index, own.ignore)] if own.ignore else [])
        foreground, ignored = evaluation_masks(truth.instances, truth.ignored)
        yield from histogram_tallies(pixel_histogram(in_evaluator_frame(score_map), foreground, ignored))
        if self.peaks:
            whole = truth.whole(*greys[0].shape)
            yield from peak_tallies(localization_map(score_map, *whole.shape), whole)

    def _read(self, index: int, name: str) -> npt.NDArray[np.uint8]:
        """A grey mask (H, W) uint8 at its stored size."""
        try:
            return cv2.cvtColor(decode((self.root / name).read_bytes()), cv2.COLOR_RGB2GRAY).astype(np.uint8)
        except (OSError, ImageError) as error:
            raise ForeignInputError(f"{self.image_ids[index]}: mask {self.root / name}: {error}") from error
