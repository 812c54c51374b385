"""`weakbox submit` and `weakbox jobs` against the job server of a real head, which wants a token."""

import contextlib
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from pipeline.store.sealed import unseal
from tests.cluster import mini
from tests.cluster.ray_head import head

pytest.importorskip("ray")
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 2}
STUB = """
import json, os, sys, time
print("started", json.dumps([sys.argv[1:], os.environ["COLOUR"], sorted(os.listdir())]), flush=True)
while not os.path.exists(os.environ["GATE"]):
    time.sleep(0.1)
print("ended")
sys.exit(int(os.environ["CODE"]))
"""
"""A jobs/cli.py that says what it was given, waits for the file GATE and exits with CODE."""


@pytest.fixture(scope="module")
def url(private_ray_environment):
    """The dashboard of a head whose PATH leads to this Python."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with head(private_ray_environment / "submit", PATH=path, **TOKEN) as address:
        yield address


@pytest.fixture
def folder(tmp_path, demo_data):
    """A working folder with a config whose only stage is ingest, and data that is not uploaded."""
    work = tmp_path / "work folder"
    work.mkdir()
    config = {"run_root": "runs/a", "dataset": {"reader": "folder", "root": str(demo_data), "shard_size": 10}}
    (work / "tiny run.yaml").write_text(yaml.safe_dump(config))
    return work


@pytest.fixture
def stub(folder):
    """The working folder as a checkout of weakbox, which must win over the installed one."""
    for path in ("jobs/__init__.py", "jobs/cli.py", "pipeline/x", "schemas/x", "stages/catalog.py"):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).touch()
    (folder / "pyproject.toml").write_text('[project]\nname = "weakbox"\n')
    (folder / "jobs" / "cli.py").write_text(STUB)
    (folder / "data").mkdir()
    (folder / "data" / "large").touch()
    return folder


def command(*arguments):
    """The command line of weakbox; -P, because the current folder may hold another package `jobs`."""
    program = "from jobs.cli import cli, main; from jobs import submit as s; "
    program += "cli.add_command(s.submit); cli.add_command(s.jobs); main()"
    return [sys.executable, "-P", "-c", program, *arguments]


def weakbox(folder, *arguments, **environment):
    """Run weakbox in a folder to its end; gives (exit code, stdout, stderr)."""
    variables = {**os.environ, **TOKEN, **environment}
    done = subprocess.run(
        command(*arguments), cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=600
    )
    return done.returncode, done.stdout, done.stderr


@contextlib.contextmanager
def started(folder, *arguments):
    """Start weakbox in a folder; its stdout and stderr share a log."""
    running = mini.start(["env", "-C", str(folder), *command(*arguments)], **TOKEN)
    try:
        yield running
    finally:
        running.clean_up()


def row_of(folder, url, name):
    code, out, err = weakbox(folder, "jobs", "--address", url, "--json", "-")
    assert code == 0, err
    return {row["submission"]: row for row in json.loads(out)}[name]


def outcome(folder):
    """The newest record of the run."""
    return unseal(max((folder / "runs" / "a" / "_runs").iterdir()).read_bytes())


def test_a_run_is_uploaded_followed_and_its_exit_code_kept(url, folder):
    """Breaks when the job does not find its config or Ray, packages of the folder hide those of the cluster, a stage
    cannot be rerun, or an exit code becomes 1."""
    for name in ("jobs", "pipeline", "stages", "schemas"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").touch()
    submit = ("submit", "tiny run.yaml", "--address", url)
    code, first, err = weakbox(folder, *submit)
    assert code == 0, err
    assert first.startswith("weakbox-tiny_run-")
    assert "stage=ingest shards=6/6" in err
    assert outcome(folder)["state"] == "done"
    assert outcome(folder)["submission"] == first.strip()
    code, again, err = weakbox(folder, *submit, "--only", "ingest", "--force", "ingest")
    assert code == 0, err
    assert outcome(folder)["computed"] == {"ingest": 6}
    code, _, err = weakbox(folder, *submit, "--set", "dataset.root=/no such/folder", "--submission-id", "bad")
    assert code == 2
    assert "weakbox: error: dataset: root /no such/folder" in err
    code, out, _ = weakbox(folder, "jobs", "--address", url, "--json", "-")
    rows = [row for row in json.loads(out) if row["submission"] in (first.strip(), again.strip(), "bad")]
    assert [(row["submission"], row["exit_code"]) for row in rows] == [
        ("bad", 2),
        (again.strip(), 0),
        (first.strip(), 0),
    ]
    assert rows[0]["config"] == "tiny run.yaml"
    assert "/no such/folder" in rows[0]["message"]
    code, out, _ = weakbox(folder, "jobs", "--address", url)
    assert code == 0
    assert "bad" in out
    assert "FAILED" in out
    code, _, err = weakbox(folder, *submit, "--submission-id", "bad")
    assert (code, "already exists" in err) == (2, True)


def test_the_uploaded_source_runs_detached(url, stub):
    """Breaks when an installed weakbox hides the uploaded one, arguments or variables change on the way, excluded files
    travel, --detach waits, or following again loses the exit code."""
    changes = ("--set", "dataset.root=/my $HOME/'photographs'", "--set", "run_root=s3://bucket/run")
    variables = ("--env", "COLOUR=dark blue", "--env", "CODE=3", "--env", "GATE")
    gate = stub.parent / "gate"
    arguments = ("submit", "tiny run.yaml", "--address", url, *changes, *variables, "--detach")
    code, out, err = weakbox(stub, *arguments, GATE=str(gate))
    assert code == 0, err
    name = out.strip()
    assert row_of(stub, url, name)["status"] in ("PENDING", "RUNNING")
    gate.touch()
    code, _, err = weakbox(stub, "jobs", "--address", url, "--follow", name)
    assert code == 3, err
    assert "ended" in err
    code, out, _ = weakbox(stub, "jobs", "--address", url, "--logs", name)
    assert code == 0
    said = next(line for line in out.splitlines() if line.startswith("started "))
    places = ("--set", 'run_root="s3://bucket/run"', "--set", "dataset.root=\"/my $HOME/'photographs'\"")
    given = ["run", "tiny run.yaml", "--address", "auto", *changes, *places]
    packed = ["jobs", "pipeline", "pyproject.toml", "schemas", "stages", "tiny run.yaml"]
    assert json.loads(said.removeprefix("started ")) == [given, "dark blue", packed]


def test_a_lost_connection_is_survived(url, stub):
    """Breaks when following ends with the connection, or repeats or loses lines of the log after it."""
    gate, up = stub.parent / "gate", threading.Event()
    variables = ("--env", "COLOUR=red", "--env", "CODE=0", "--env", f"GATE={gate}")
    code, out, err = weakbox(stub, "submit", "tiny run.yaml", "--address", url, *variables, "--detach")
    assert code == 0, err
    up.set()
    with relayed(url, up) as relay, started(stub, "jobs", "--address", relay, "--follow", out.strip()) as following:
        assert mini.wait_until(following, lambda: "started " in following.log.read_text())
        up.clear()
        gate.touch()
        time.sleep(5)
        assert following.process.poll() is None
        up.set()
        following.check()
        log = following.log.read_text()
    assert (log.count("started ["), log.count("ended\n")) == (1, 1)


def test_ctrl_c_detaches_and_stop_stops(url, folder):
    """Breaks when Ctrl-C kills the job, or a stopped one is killed before it said so in its run root."""
    endless = ("--set", "stages={classify: {epochs: 100000, batch_size: 16, refit: never}}")
    submit = ("submit", "tiny run.yaml", "--address", url, "--submission-id", "endless", *endless)
    with started(folder, *submit) as following:
        assert mini.wait_until(following, lambda: "event=training" in following.log.read_text())
        following.process.send_signal(signal.SIGINT)
        assert following.wait(60) == 3
        assert f"--address {url} --follow endless" in following.log.read_text()
    assert row_of(folder, url, "endless")["status"] == "RUNNING"
    assert weakbox(folder, "jobs", "--address", url, "--stop", "endless")[:2] == (0, "endless: stopping\n")
    code, _, err = weakbox(folder, "jobs", "--address", url, "--follow", "endless")
    assert code == 3, err
    assert "status=STOPPED" in err
    said = outcome(folder)
    assert (said["state"], said["exit_code"], said["submission"]) == ("stopped", 3, "endless")
    assert weakbox(folder, "jobs", "--address", url, "--stop", "endless")[1] == "endless: was not running\n"


def test_without_the_token_the_line_names_the_variables(url, folder):
    """Breaks when the first thing that goes wrong on a recent Ray is told by a traceback."""
    for environment in ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "wrong" * 8}):
        code, out, err = weakbox(folder, "submit", "tiny run.yaml", "--address", url, **environment)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert "RAY_AUTH_MODE" in err
        assert "RAY_AUTH_TOKEN_PATH" in err


@contextlib.contextmanager
def relayed(url, up):
    """A server that passes GET requests on to `url`, and hangs up on them while `up` is not set; yields its URL."""

    class Relay(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if up.is_set():
                request = urllib.request.Request(url + self.path, headers=dict(self.headers))
                with urllib.request.urlopen(request) as answer:
                    self.send_response(answer.status)
                    self.end_headers()
                    self.wfile.write(answer.read())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Relay) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
