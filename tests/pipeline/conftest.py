import fsspec
import pytest

from pipeline.store.store import Store
from tests.pipeline import fakes


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "run"))


@pytest.fixture(autouse=True)
def log():
    """A fresh log of what the fakes compute."""
    fakes.LOG.computed.clear()
    fakes.LOG.fail_after = None
    return fakes.LOG


@pytest.fixture
def fetched(monkeypatch):
    """(start, number of bytes) of each fetch from the memory file system."""
    seen = []
    memory = type(fsspec.filesystem("memory"))
    plain = memory.cat_file

    def noted(self, path, start=None, end=None, **more):
        data = plain(self, path, start=start, end=end, **more)
        seen.append((start, len(data)))
        return data

    monkeypatch.setattr(memory, "cat_file", noted)
    return seen
