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
