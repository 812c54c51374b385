import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("a\nb\tc\x00", r"a\nb\tc\x00"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202etxt.exe", r"\u202etxt.exe"),
        ("\u2028", r"\u2028"),
        ("\ud800", r"\ud800"),
        ("caf\u00e9 \u00a0 \u4f60\u597d \u2713", "caf\u00e9 \u00a0 \u4f60\u597d \u2713"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_instead(text, shown):
    """Breaks when an escape sequence, a new line or a turn of direction reaches a terminal, or plain text does not."""
    assert printable(text) == shown


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_can_be_written(text):
    """Breaks when a name that UTF-8 cannot say ends the very line that should name it."""
    printable(text).encode()
    assert not any(ord(letter) < 32 for letter in printable(text))
