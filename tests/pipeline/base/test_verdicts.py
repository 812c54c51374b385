from functools import partial

import pytest

from pipeline.base import verdicts
from pipeline.base.verdicts import once


@pytest.fixture
def asked(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return []


def test_what_fits_is_asked_once_by_question_and_version(asked, monkeypatch):
    """Breaks when an answer is asked for again, or outlives what it depends on."""
    for question in ("a", "a", "b", "a"):
        once([question], ("torch",), partial(asked.append, question))
    assert asked == ["a", "b"]
    monkeypatch.setattr(verdicts, "version", lambda package: "another")
    once(["a"], ("torch",), partial(asked.append, "again"))
    assert asked[-1] == "again"


def test_what_does_not_fit_is_asked_again(asked):
    """Breaks when a missing file is remembered as missing, or an error as a success."""

    def refuse() -> None:
        asked.append("no")
        raise ValueError("it does not fit")

    for _ in range(2):
        with pytest.raises(ValueError, match="does not fit"):
            once("q", (), refuse)
    assert asked == ["no", "no"]


@pytest.mark.parametrize("folder", ["relative", "/dev/null/below"])
def test_without_a_folder_every_question_is_asked(folder, asked, monkeypatch, tmp_path):
    """Breaks when a cache folder that cannot be written, or that the standard says to ignore, ends a command."""
    monkeypatch.setenv("XDG_CACHE_HOME", folder)
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        once("q", (), lambda: asked.append("q"))
    assert asked == ["q", "q"]
    assert list(tmp_path.iterdir()) == []
