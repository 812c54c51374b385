"""Makes text of stored data safe to print: a terminal would obey control characters hidden in it."""

import unicodedata

_HIDDEN = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of control characters, lone surrogates, and separators of lines and paragraphs."""
_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Unicode's controls of writing direction, which make a text look different from what it is."""


def printable(text: str) -> str:
    r"""The text with every control character, new lines too, as an escape: ESC becomes ``\x1b``."""
    return "".join(map(_shown, text)) if not text.isprintable() else text


def _shown(letter: str) -> str:
    hidden = letter in _DIRECTIONS or unicodedata.category(letter) in _HIDDEN
    return letter.encode("unicode_escape").decode() if hidden else letter
