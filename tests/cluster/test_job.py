"""A cluster as users start it, and a run that is submitted to it as a job."""

import shutil
import socket
import sys
from pathlib import Path

import pytest

from pipeline.store import Store
from tests.cluster import mini
from tests.equality import assert_runs_equal

pytest.importorskip("ray")
RAY = str(Path(sys.executable).with_name("ray"))
pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


def free_ports(count):
    """Ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


@pytest.fixture
def head(private_ray_environment):
    """A Ray head on this machine with a dashboard, which takes jobs; yields the dashboard's port."""
    port, dashboard, client, agent = free_ports(4)
    folder = private_ray_environment / "head"
    command = mini.start(
        [
            RAY,
            "start",
            "--head",
            "--block",
            "--node-ip-address=127.0.0.1",
            f"--port={port}",
            f"--dashboard-port={dashboard}",
            "--dashboard-host=127.0.0.1",
            f"--ray-client-server-port={client}",
            f"--dashboard-agent-listen-port={agent}",
            "--num-cpus=2",
            f"--temp-dir={folder}",
        ]
    )

    def ready():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", dashboard)) == 0

    try:
        assert mini.wait_until(command, ready, 180), command.log.read_text()
        yield dashboard
    finally:
        command.terminate()
        command.gone(within=20)
        command.clean_up()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_submitted_job_gives_the_same_tables(head, tmp_path, mini_data, reference):
    """Breaks when joining a cluster differs from starting a local Ray, or the job's working folder lacks something."""
    root = tmp_path / "run"
    job = mini.start(
        [
            *(RAY, "job", "submit", "--working-dir", ".", "--"),
            *(sys.executable, "-m", "jobs.cli", "run", mini.CONFIG, "--address", "auto"),
            *("--set", f"run_root={root}", "--set", f"dataset.root={mini_data}"),
        ],
        RAY_API_SERVER_ADDRESS=f"http://127.0.0.1:{head}",
    )
    try:
        job.check()
    finally:
        job.clean_up()
    assert_runs_equal(reference, Store(str(root)), mini.STAGES)
