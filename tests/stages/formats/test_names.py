"""File names of exported pictures."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from stages.formats.names import folded, plain_name, unique_name


def test_folders_and_dots_are_told_apart_from_nothing():
    """Breaks when a name leaves its folder, or a tool cuts it at a dot that is no ending's."""
    assert plain_name("train/cat/a.b.jpg") == "train__cat__a_b"
    assert plain_name("x") == "x"
    assert plain_name(".jpg") == "_jpg"


def test_names_that_some_file_system_takes_for_the_same():
    """Breaks when two pictures become one on a Mac or on Windows."""
    assert folded("Ä") == folded(unicodedata.normalize("NFD", "ä"))
    assert plain_name("a/b.jpg") == plain_name("a__b.png")
    assert unique_name("a/b.jpg") != unique_name("a__b.png")


@given(st.text(min_size=1))
def test_a_name_is_one_a_file_can_have(image_id):
    """Breaks when a name has a separator, or no room for an ending."""
    for name in (plain_name(image_id), unique_name(image_id)):
        assert name
        assert "/" not in name
        assert "." not in name
        assert len(name.encode(errors="replace")) <= 210
