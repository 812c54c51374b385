"""Who can use a local run's Ray: nobody else, over any address, and what it leaves behind: nothing."""

import http.client
import ipaddress
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml

from jobs import local_ray

pytest.importorskip("ray")
REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 120

DRIVER = """
import json, os, sys
from jobs import logs
from jobs.ray_session import RaySession

logs.configure()
session = RaySession(None, 1)
import ray

@ray.remote(num_cpus=0)
class Worker:
    def ready(self):
        return True

worker = Worker.remote()
ray.get(worker.ready.remote())
address = ray.get_runtime_context().gcs_address
print(json.dumps({"address": address, **os.environ}), flush=True)
sys.stdin.read()
session.close()
print(json.dumps(dict(os.environ)), flush=True)
"""

STRANGER = """
import sys
import ray

ray.init(address=sys.argv[1], log_to_driver=False)

@ray.remote(num_cpus=0)
def task():
    return "the task ran"

print(ray.get(task.remote(), timeout=60))
"""


@dataclass
class LocalRun:
    """A driver with its Ray up. inside: its environment meanwhile."""

    process: subprocess.Popen
    inside: dict[str, str]
    home: Path
    log: Path

    @property
    def processes(self) -> list[psutil.Process]:
        driver = psutil.Process(self.process.pid)
        return [driver, *driver.children(recursive=True)]


@pytest.fixture(scope="module")
def local_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRun]:
    """A local run whose user has a login to some cluster in the environment and no ~/.ray."""
    home = tmp_path_factory.mktemp("home")
    login = {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": "of-a-cluster" * 3, "RAY_AUTH_TOKEN_PATH": str(home / "no")}
    log = home.parent / "driver.log"
    with open(log, "w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER],
            cwd=REPOSITORY,
            env={**os.environ, **login, "HOME": str(home)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, log.read_text()
        yield LocalRun(process, json.loads(line), home, log)
    finally:
        if process.poll() is None:
            process.communicate(timeout=PATIENCE)


def role(process: psutil.Process, driver: int) -> str:
    """What docs/security.md calls a process of Ray; its command line for one that it does not know."""
    command = " ".join(process.cmdline())
    names = {
        "ray::DashboardAgent": "dashboard agent",
        "ray::RuntimeEnvAgent": "runtime environment agent",
        "ray::": "worker",
    }
    if process.pid == driver:
        return "driver"
    known = next((name for prefix, name in names.items() if command.startswith(prefix)), command)
    return process.name() if process.name() in ("gcs_server", "raylet") else known


def documented() -> set[str]:
    """The first column of the table of listeners."""
    text = (REPOSITORY / "docs" / "security.md").read_text()
    table = text.split("| process that listens |", 1)[1].split("\n\n", 1)[0]
    return {match[1] for match in re.finditer(r"^\| ([a-z_ ]+) \|", table, re.MULTILINE)}


def stranger(run: LocalRun, **login: str) -> subprocess.CompletedProcess:
    """Another process that knows where Ray listens joins it and runs a task."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    loopback = {name: run.inside[name] for name in ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "RAY_TMPDIR")}
    variables = {**own, **loopback, "HOME": str(run.home), "RAY_NUM_REDIS_GET_RETRIES": "2", **login}
    return subprocess.run(
        [sys.executable, "-c", STRANGER, run.inside["address"]],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def test_all_that_listens_is_documented_and_on_loopback(local_run: LocalRun) -> None:
    """Breaks when a process of a local Ray listens on an address that others reach, or one that nobody thought of."""
    listening = [
        (role(process, local_run.process.pid), connection.laddr.ip, connection.laddr.port)
        for process in local_run.processes
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN or connection.type.name == "SOCK_DGRAM"
    ]
    assert {"driver", "gcs_server", "raylet", "worker"} <= {name for name, _, _ in listening}
    addresses = [(name, ipaddress.ip_address(ip.removeprefix("::ffff:")), port) for name, ip, port in listening]
    assert [each for each in addresses if not each[1].is_loopback] == []
    assert {name for name, _, _ in listening} <= documented()


@pytest.mark.parametrize(
    "login",
    [
        {},
        {"RAY_AUTH_MODE": "disabled"},
        {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "of-a-cluster" * 3},
    ],
    ids=["no token", "no login", "another token"],
)
def test_a_stranger_is_refused(local_run: LocalRun, login: dict[str, str]) -> None:
    """Breaks when a process without this run's token can run a task as the user, over loopback too."""
    tried = stranger(local_run, **login)
    assert tried.returncode != 0
    assert "InvalidAuthToken" in tried.stdout + tried.stderr
    assert "the task ran" not in tried.stdout


def test_the_same_client_with_the_token_runs(local_run: LocalRun) -> None:
    """Breaks when strangers are refused for any other reason than the token, so that the test above shows nothing."""
    login = {name: local_run.inside[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}
    tried = stranger(local_run, **login)
    assert tried.stdout.strip() == "the task ran", tried.stderr[-2000:]


def test_the_agents_of_a_local_ray_ask_for_the_token(local_run: LocalRun) -> None:
    """Breaks when an agent takes jobs or environments from anybody, or a metrics endpoint answers again.

    The dashboard agent speaks HTTP at one fixed port, which another Ray of the machine may hold.
    """
    token = local_run.inside["RAY_AUTH_TOKEN"]
    answers = {
        role(process, local_run.process.pid): (status(port), status(port, token))
        for process in local_run.processes
        for port in ports(process)
        if status(port) is not None
    }
    assert {"runtime environment agent"} <= answers.keys() <= {"runtime environment agent", "dashboard agent"}
    for refused, allowed in answers.values():
        assert refused == 401
        assert allowed not in (401, None)


def ports(process: psutil.Process) -> list[int]:
    """Where a process takes connections."""
    return [each.laddr.port for each in process.net_connections(kind="inet") if each.status == psutil.CONN_LISTEN]


def status(port: int, token: str | None = None) -> int | None:
    """What the submission of a job is answered; None for a port that does not speak HTTP/1."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/api/job_agent/jobs/", b"{}", headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def test_the_token_is_in_the_environment_alone(local_run: LocalRun) -> None:
    """Breaks when the token stands in a command line, a log, a file of Ray, or ~/.ray, where others may read it."""
    token, folder = local_run.inside["RAY_AUTH_TOKEN"], Path(local_run.inside["RAY_TMPDIR"])
    assert len(token) >= 32
    assert [process.pid for process in psutil.process_iter(["cmdline"]) if token in str(process.info["cmdline"])] == []
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert [path for path in files if token.encode() in path.read_bytes()] == []
    assert token not in local_run.log.read_text()
    assert not (local_run.home / ".ray").exists()
    assert folder.stat().st_mode & 0o077 == 0


def test_closing_leaves_nothing(local_run: LocalRun) -> None:
    """Breaks when the token outlives the run, the user's own login does not come back, or Ray's folder stays."""
    out, _ = local_run.process.communicate(timeout=PATIENCE)
    after = json.loads(out)
    assert (after["RAY_AUTH_MODE"], after["RAY_AUTH_TOKEN"]) == ("disabled", "of-a-cluster" * 3)
    assert "RAY_AUTH_TOKEN_PATH" in after
    assert local_run.inside["RAY_AUTH_TOKEN"] not in out
    assert not Path(local_run.inside["RAY_TMPDIR"]).exists()


def test_every_local_run_has_a_token_of_its_own() -> None:
    """Breaks when a token can be known from another run."""
    assert local_ray.private_variables()["RAY_AUTH_TOKEN"] != local_ray.private_variables()["RAY_AUTH_TOKEN"]


@pytest.fixture
def config(demo_data: Path, tmp_path: Path) -> Path:
    """A config that needs Ray at once."""
    path = tmp_path / "run.yaml"
    dataset = {"reader": "folder", "root": str(demo_data)}
    path.write_text(yaml.safe_dump({"run_root": str(tmp_path / "run"), "dataset": dataset}))
    return path


def refused(*arguments: str, code: int, **environment: str) -> str:
    """The one line of `weakbox run` that ends so within a minute."""
    command = [sys.executable, "-m", "jobs.cli", "run", *arguments]
    variables = {**os.environ, **environment}
    ran = subprocess.run(
        command, cwd=REPOSITORY, env=variables, capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == code, ran.stderr
    assert "Traceback" not in ran.stderr
    return ran.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("kind", ["too long", "a file", "absent"])
def test_a_ray_that_cannot_start_says_so_in_one_line(kind: str, config: Path, tmp_path: Path) -> None:
    """Breaks when the user gets a message of Ray's insides, or none for a minute, instead of what to do."""
    folders = {"too long": tmp_path / ("long" * 25), "a file": tmp_path / "file", "absent": tmp_path / "absent"}
    folders["too long"].mkdir()
    folders["a file"].touch()
    line = refused(str(config), code=1, RAY_TMPDIR=str(folders[kind]))
    assert line.startswith("weakbox: error: Ray does not start on this machine: ")
    assert "RAY_TMPDIR" in line
    assert "--in-process" in line
    assert not any(folders["too long"].iterdir())


def test_a_cluster_that_does_not_answer_is_one_line(config: Path) -> None:
    """Breaks when a wrong --address is tried for many minutes, or its line does not name it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    line = refused(str(config), "--address", address, code=2)
    assert line.startswith(f"weakbox: error: --address {address}: nobody answers there: ")
