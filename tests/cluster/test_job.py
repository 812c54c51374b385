"""A cluster as users start it, and a run that is submitted to it as a job."""

import sys

import pytest

from pipeline.store.store import Store
from tests.cluster import mini, ray_head
from tests.equality import assert_runs_equal

pytest.importorskip("ray")
pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.fixture
def address(private_ray_environment):
    """Dashboard of a Ray head on this machine, which takes jobs."""
    with ray_head.head(private_ray_environment / "head") as url:
        yield url


def test_a_submitted_job_gives_the_same_tables(address, tmp_path, mini_data, reference):
    """Breaks when joining a cluster differs from starting a local Ray, or the job's working folder lacks something."""
    root = tmp_path / "run"
    job = mini.start(
        [
            *(ray_head.RAY, "job", "submit", "--working-dir", ".", "--"),
            *(sys.executable, "-m", "jobs.cli", "run", mini.CONFIG, "--address", "auto"),
            *("--set", f"run_root={root}", "--set", f"dataset.root={mini_data}"),
        ],
        RAY_API_SERVER_ADDRESS=address,
    )
    try:
        job.check()
    finally:
        job.clean_up()
    assert_runs_equal(reference, Store(str(root)), mini.STAGES)
