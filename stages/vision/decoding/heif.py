"""HEIC files, by the optional package pillow-heif (libheif), which is not registered with Pillow.

libheif applies the orientation in an image's properties; it is undone here, because `images.decode` applies it.
"""

import numpy as np

from stages.vision.decoding.budget import Rate, check
from stages.vision.decoding.errors import DamagedError, ImageError, damage
from stages.vision.decoding.iso_boxes import Items, image_items, size_of
from stages.vision.decoding.modes import to_rgb
from stages.vision.decoding.orientation_tags import orientation
from stages.vision.decoding.turning import turned_back

_RATE = Rate(pixel=25.0, byte=50.0)
_CODED = frozenset({b"hvc1", b"hev1"})


def decode(data: bytes, lenient: bool) -> np.ndarray:
    """The pixels of the primary image: ``(height, width, 3)`` uint8, as stored. Raises ImageError.

    lenient: has no effect, libheif decodes nothing of a damaged file.
    """
    try:
        import pillow_heif
    except ImportError as error:
        raise ImageError("HEIC image: install the package pillow-heif (extra heif)") from error
    try:
        _check(data, image_items(data))
        image = pillow_heif.open_heif(data, convert_hdr_to_8bit=True).to_pillow()
        return turned_back(to_rgb(image), orientation("HEIC", data))
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # the bytes are in memory: whatever a codec raises is about their content
        raise damage(ValueError(f"HEIC image: {error}")) from error


def _check(data: bytes, items: Items) -> None:
    """Refuse kinds of images that photographs do not have, and images that are too large or too slow."""
    kind = items.kinds.get(items.primary, b"")
    parts = items.parts.get(items.primary, []) if kind == b"grid" else [items.primary]
    if not parts or any(items.kinds.get(part) not in _CODED for part in parts):
        raise ImageError(f"HEIC image of a kind that is not supported: {kind.decode('latin-1')!r}")
    width, height = size_of(data, items, items.primary)
    across, down = size_of(data, items, parts[0])
    if any(size_of(data, items, part) != (across, down) for part in parts):
        raise DamagedError("damaged: its tiles differ in size")
    check("HEIC", width, height, len(data), _RATE)
    check("HEIC", across, down * len(parts), len(data), _RATE)
