import os
import random

import fsspec
import pytest

from pipeline.store.files import Files
from pipeline.store.ranged_file import RangedFile

DATA = random.Random(0).randbytes(300_000)


def remote(name, data=DATA):
    Files("memory://ranged").put(name, data)
    return f"memory://ranged/{name}"


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("where", ["local", "remote"])
def test_any_range_holds_the_bytes_of_the_file(tmp_path, where, ahead):
    """Breaks when what is kept of the last fetch is given out for bytes that lie elsewhere."""
    (tmp_path / "f").write_bytes(DATA)
    file = RangedFile(remote("any") if where == "remote" else str(tmp_path / "f"), ahead=ahead)
    chance = random.Random(1)
    for _ in range(300):
        start = chance.choice([chance.randrange(len(DATA)), file.tell()])
        length = chance.choice([0, 1, 512, 5_000, 400_000])
        assert file.at(start, length) == DATA[start : start + length]
        assert file.seek(start) == start
        assert file.read(length) == DATA[start : start + length]
    assert file.at(len(DATA), 1) == file.at(2 * len(DATA), 1) == b""
    assert file.seek(-3, os.SEEK_END) == len(DATA) - 3
    assert file.read() == DATA[-3:]
    assert file.read(1) == b""


def test_headers_between_long_bodies_take_one_small_fetch_each(fetched):
    """Breaks when bodies are fetched along with the headers between them, or each header costs several requests."""
    file = RangedFile(remote("headers"), ahead=True)
    for start in range(0, len(DATA), 30_000):
        for part in range(3):
            file.at(start + 512 * part, 512)
    assert len(fetched) == 10
    assert all(length == 1536 for _, length in fetched[1:]), fetched


def test_what_is_read_in_a_row_is_fetched_by_larger_and_larger_parts(fetched):
    """Breaks when a file of small members takes a request for each of them."""
    file = RangedFile(remote("row"), ahead=True)
    assert b"".join(file.at(start, 1_000) for start in range(0, len(DATA), 1_000)) == DATA
    assert len(fetched) < 10
    assert sum(length for _, length in fetched) < 1.05 * len(DATA)


def test_without_reading_ahead_nothing_else_is_fetched(fetched):
    """Breaks when a library that asks for ranges gets more than it asked for."""
    file = RangedFile(remote("exact"))
    file.at(5, 10)
    file.fetch(100, 107)
    assert fetched == [(5, 10), (100, 7)]


def test_a_storage_that_fails_is_remembered(monkeypatch):
    """Breaks when a library makes damage of a storage's error, and nobody can tell any more."""
    file = RangedFile(remote("fails"))
    monkeypatch.setattr("time.sleep", lambda seconds: None)

    def fail(*args, **more):
        raise OSError("no answer")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "cat_file", fail)
    with pytest.raises(OSError, match="no answer"):
        file.at(0, 1)
    assert str(file.failure) == "no answer"


def test_a_file_that_is_absent_or_becomes_shorter(tmp_path):
    """Breaks when a file that was cut while it was read gives fewer bytes in silence."""
    with pytest.raises(FileNotFoundError):
        RangedFile(str(tmp_path / "none"))
    (tmp_path / "f").write_bytes(b"0123456789")
    file = RangedFile(str(tmp_path / "f"))
    (tmp_path / "f").write_bytes(b"0123")
    with pytest.raises(OSError, match="became shorter"):
        file.at(2, 5)
    file.close()
    file.close()
