"""A folder of score maps, one .npy file an image; all files are checked before anything is computed."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stages.scoring.evaluator_maps import FRAME
from stages.scoring.foreign.errors import ForeignInputError
from stages.scoring.ragged import FloatArray

Shape = tuple[int, ...]


class MapFolder(NamedTuple):
    """Score maps ``root/<image_id>.npy``, floating.

    Their size is 224 x 224 (values in [0, 1], as wsolevaluation writes them), the image's, or one feature grid for all.
    """

    root: Path

    def path(self, image_id: str) -> Path:
        """The file of an image. Raises ForeignInputError for an id that leads out of the folder."""
        path = self.root / f"{image_id}.npy"
        if ".." in Path(image_id).parts or Path(image_id).is_absolute():
            raise ForeignInputError(f"{image_id}: this id leads out of the folder of maps")
        return path

    def check(self, image_ids: Sequence[str], sizes: FloatArray) -> None:
        """Look at the header of every map: presence, dtype, shape. sizes (N, 2): width, height of the images.

        Raises ForeignInputError for the first map that is missing, not floating, or of none of the three sizes.
        """
        if not self.root.is_dir():
            raise ForeignInputError(f"{self.root}: there is no such folder of maps")
        kinds = [
            _kind(self._header(image_id), (int(height), int(width)))
            for image_id, (width, height) in zip(image_ids, sizes, strict=True)
        ]
        usual = Counter(kinds).most_common(1)[0][0]
        allowed: set[str | Shape] = {"frame", "own"} if isinstance(usual, str) else {usual}
        for image_id, kind in zip(image_ids, kinds, strict=True):
            if kind not in allowed:
                shape = FRAME if kind == "frame" else kind
                said = "that of the image" if kind == "own" else " x ".join(map(str, shape))
                wanted = "224 x 224 or the image's own size" if isinstance(usual, str) else " x ".join(map(str, usual))
                raise ForeignInputError(f"{image_id}: the map's shape is {said}; it should be {wanted}")

    def read(self, image_id: str) -> FloatArray:
        """One map (h, w) in the file's own dtype, in which wsolevaluation quantizes it.

        Raises ForeignInputError for NaN, infinity, or a 224 x 224 map outside [0, 1].
        """
        path = self.path(image_id)
        try:
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ForeignInputError(f"{image_id}: {path}: {_reason(error)}") from error
        values = values.astype(values.dtype.newbyteorder("="))
        if not np.isfinite(values).all():
            raise ForeignInputError(f"{image_id}: the map has a NaN or an infinity")
        if values.shape == FRAME and (values.min() < 0 or values.max() > 1):
            raise ForeignInputError(f"{image_id}: a 224 x 224 map must have values in [0, 1], this one has others")
        return values

    def _header(self, image_id: str) -> Shape:
        path = self.path(image_id)
        try:
            with path.open("rb") as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
        except FileNotFoundError:
            raise ForeignInputError(f"{image_id}: there is no map {path}") from None
        except (OSError, ValueError, EOFError) as error:
            raise ForeignInputError(f"{image_id}: {path}: {_reason(error)}") from error
        if not np.issubdtype(dtype, np.floating):
            raise ForeignInputError(f"{image_id}: the map's dtype is {dtype}; it should be floating")
        if len(shape) != 2 or 0 in shape:
            raise ForeignInputError(f"{image_id}: the map's shape is {shape}; it should be (height, width)")
        return tuple(shape)


def _kind(shape: Shape, own: Shape) -> str | Shape:
    """Which of the allowed shapes it is: "frame" for 224 x 224, "own" for the image's, or a grid."""
    return "frame" if shape == FRAME else "own" if shape == own else shape


def _reason(error: Exception) -> str:
    said = getattr(error, "strerror", None) or str(error)
    return " ".join(said.split())
