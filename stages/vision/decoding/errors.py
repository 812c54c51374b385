"""Errors of image files."""

import struct


class ImageError(ValueError):
    """The bytes are no usable image; the message is a short reason."""


class DamagedError(ImageError):
    """The bytes are a damaged image; lenient decoding may still recover a part of it."""


_CUT_SHORT = ("truncated", "premature end of jpeg", "end of file", "not enough", "it ends")


def damage(error: Exception) -> DamagedError:
    """Turn an error of a codec into one short line that says whether the file is truncated or damaged."""
    if isinstance(error, struct.error | IndexError):
        return DamagedError("truncated: it ends inside of its header")
    text = " ".join(str(error).split())[:200] or type(error).__name__
    cut_short = isinstance(error, EOFError) or any(words in text.lower() for words in _CUT_SHORT)
    return DamagedError(f"{'truncated' if cut_short else 'damaged'}: {text}")
