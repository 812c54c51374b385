"""Why a file gives no image."""

import struct


class ImageError(ValueError):
    """The bytes are no usable image; the message is a short reason."""


class DamagedError(ImageError):
    """An image, but not a whole one: lenient decoding may still make something of it."""


_CUT_SHORT = ("truncated", "premature end of jpeg", "end of file", "not enough", "it ends")


def damage(error: Exception) -> DamagedError:
    """What a codec raised, in one short line that says whether the file is cut short or damaged."""
    if isinstance(error, struct.error | IndexError):
        return DamagedError("truncated: it ends inside of its header")
    text = " ".join(str(error).split())[:200] or type(error).__name__
    cut_short = isinstance(error, EOFError) or any(words in text.lower() for words in _CUT_SHORT)
    return DamagedError(f"{'truncated' if cut_short else 'damaged'}: {text}")
