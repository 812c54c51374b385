"""Fixtures of all tests: a private Ray on this machine, and the folder of real data sets."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from jobs.local_ray import private_variables
from jobs.target import Target
from tests import runs

settings.register_profile("weakbox", deadline=None)  # a busy machine is no defect
settings.load_profile("weakbox")

REPOSITORY = Path(__file__).resolve().parent.parent


_ENVIRONMENT = pytest.MonkeyPatch()


def pytest_configure() -> None:
    """Close every Ray of this session to others, those of sub-processes too, and keep it away from other clusters.

    Runs before any test module imports Ray, which reads these variables at its import.
    """
    _ENVIRONMENT.delenv("RAY_ADDRESS", raising=False)
    _ENVIRONMENT.setenv("RAY_USAGE_STATS_ENABLED", "0")
    _ENVIRONMENT.setenv("RAY_worker_niceness", "0")
    _ENVIRONMENT.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    for name, value in private_variables().items():
        _ENVIRONMENT.setenv(name, value)


_RAY = {"on_ray", "test_local_ray.py", "test_dashboard.py"}
"""Folders and files whose tests start a Ray."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let several processes (``-n 2``) share the tests by file, so that what a file's fixtures make is made once.

    Tests that start a Ray go to one of them: Ray gives itself thirty seconds to start, which two at a time may not do.
    The marker ``xdist_group`` would say so more simply, but pytest 9.2 does not let xdist read it (pytest-xdist 1386).
    """
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            return "ray" if _RAY.intersection(file.split("/")) else file

    return ByFile(config, log)


def pytest_unconfigure() -> None:
    """Restore the environment."""
    _ENVIRONMENT.undo()


@pytest.fixture(scope="session", autouse=True)
def private_ray_environment() -> Iterator[Path]:
    """Yields the private folder of this session's Rays.

    It lies directly under /tmp because Ray puts sockets some 70 characters below it and the kernel limits a socket's
    path to 107.
    """
    folder = Path(tempfile.mkdtemp(prefix="wb-", dir="/tmp"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))  # for fixtures that outlive a test, see `private_cache`
        patch.setenv("RAY_TMPDIR", str(folder))
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def private_cache(private_ray_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a user's cache folder of its own, made when something is kept: no verdict reaches another test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(private_ray_environment / f"cache-{uuid.uuid4().hex}"))


@pytest.fixture(scope="session")
def ray_local(private_ray_environment: Path) -> Iterator[None]:
    """A local Ray with two CPUs, started once for all tests that ask for it; it never joins a running cluster."""
    ray = pytest.importorskip("ray")
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        _temp_dir=str(private_ray_environment),
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets: WEAKBOX_DATA, which must exist, or a default, without which tests are skipped."""
    named = os.environ.get("WEAKBOX_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        if named:
            pytest.fail(f"WEAKBOX_DATA names {folder}, which is no folder")
        pytest.skip(f"WEAKBOX_DATA is not set and its default, {folder}, is absent")
    return folder


@pytest.fixture(scope="session")
def demo_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty demo images as a folder data set. Read only: copy it to change it."""
    return runs.make_data(tmp_path_factory.mktemp("demo") / "data")


@pytest.fixture(scope="session")
def finished_run(demo_data: Path) -> Target:
    """A finished in-process run of every stage on `demo_data`. Read only: see `run_copy`."""
    target = runs.target_of(runs.config(demo_data, demo_data.parent / "run"))
    runs.execute(target)
    return target


@pytest.fixture
def run_copy(finished_run: Target, demo_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The config of a copy of the finished run and its data, to be changed; where the data lies is in no recipe."""
    shutil.copytree(demo_data.parent, tmp_path / "copy", dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path / "copy")
    return runs.config(tmp_path / "copy" / "data", tmp_path / "copy" / "run")
