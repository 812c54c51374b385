import contextlib
import hashlib
import http.server
import re
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from jobs import cli, job_server, submit, upload
from pipeline.base.errors import WeakboxError
from pipeline.config.run_config import load_config
from pipeline.planning.walk import check_inputs
from stages import catalog

pytest.importorskip("ray")
NOBODY = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def commands(monkeypatch, tmp_path):
    """The commands, and a current folder with a config."""
    for command in (submit.submit, submit.jobs):
        monkeypatch.setitem(cli.cli.commands, command.name, command)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "run.yaml").write_text("run_root: runs/a\ndataset: {reader: folder, root: /photographs}\n")
    return folder


@pytest.fixture
def source(commands):
    """The current folder, made to look like a checkout of weakbox."""
    for path in SOURCE:
        (commands / path).parent.mkdir(exist_ok=True)
        (commands / path).touch()
    (commands / "pyproject.toml").write_text('[project]\nname = "weakbox"\n')
    return commands


SOURCE = ("pyproject.toml", "jobs/cli.py", "pipeline/__init__.py", "schemas/__init__.py", "stages/catalog.py")


def refused(weakbox, *arguments):
    code, out, err = weakbox(*arguments)
    assert (code, out) == (2, "")
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1, err
    return lines[0]


@pytest.mark.parametrize("command", [("submit", "run.yaml"), ("jobs",), ("jobs", "--stop", "some")])
def test_nobody_at_the_address_is_one_line(weakbox, command):
    """Breaks when Ray's own exception reaches the user, or its exit code is not that of wrong usage."""
    assert f"{NOBODY}: no answer from a Ray cluster" in refused(weakbox, *command, "--address", NOBODY)


@pytest.mark.parametrize(("status", "body"), [(404, "no such page"), (200, "<html></html>"), (200, "{}")])
def test_something_else_at_the_address_is_one_line(weakbox, status, body):
    """Breaks when a server that is no dashboard of Ray is not told from one."""
    with served(status, body) as address:
        assert f"{address}: no job server of a Ray cluster" in refused(weakbox, "jobs", "--address", address)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_login_names_the_variables(weakbox, status):
    """Breaks when a cluster that wants a token does not lead to RAY_AUTH_MODE and the token."""
    with served(status, "token?") as address:
        line = refused(weakbox, "jobs", "--address", address)
    assert {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} <= set(line.split())


def test_the_option_wins_over_the_environment(weakbox, monkeypatch):
    """Breaks when Ray's variables redirect a command whose --address names another cluster."""
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:2")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:3")
    assert NOBODY in refused(weakbox, "jobs", "--address", NOBODY)
    assert "http://127.0.0.1:3" in refused(weakbox, "jobs")


def test_bad_input_is_one_line_before_anything_is_sent(weakbox, source):
    """Breaks when a mistake that shows here is found only on the cluster, or by a traceback."""
    (source / "sub").mkdir()
    (source / ".gitignore").write_text("*.secret.yaml\n")
    for path in ("my.secret.yaml", "../run.yaml"):
        (source / path).write_text((source / "run.yaml").read_text())
    cases = {
        "config none.yaml: No such file": ["none.yaml"],
        "run.yaml is outside of the working folder": ["sub/../../run.yaml"],
        "--working-dir none: no such folder": ["run.yaml", "--working-dir", "none"],
        "my.secret.yaml would not be uploaded": ["my.secret.yaml"],
        "--env 'A-B=1'": ["run.yaml", "--env", "A-B=1"],
        "no variable NOT_SET_HERE": ["run.yaml", "--env", "NOT_SET_HERE"],
        "--submission-id 'a b'": ["run.yaml", "--submission-id", "a b"],
        "--set 'nonsense'": ["run.yaml", "--set", "nonsense"],
        "did you mean 'run_root'": ["run.yaml", "--set", "run_rot=a"],
    }
    for line, arguments in cases.items():
        assert line in refused(weakbox, "submit", "--address", NOBODY, *arguments)
    for address in ("ray://127.0.0.1:10001", "127.0.0.1:8265", "auto"):
        assert "expected the cluster's dashboard" in refused(weakbox, "submit", "run.yaml", "--address", address)
    assert "exclude each other" in refused(weakbox, "jobs", "--address", NOBODY, "--logs", "a", "--stop", "b")


def test_a_source_above_the_limit_names_what_is_large(weakbox, source):
    """Breaks when 100 MiB travel before the server refuses them, or the user is left to search for the culprit."""
    (source / "weights").mkdir()
    with open(source / "weights" / "large.bin", "wb") as file:
        file.truncate(upload.LIMIT + 1)
    line = refused(weakbox, "submit", "run.yaml", "--address", NOBODY)
    assert "more than 100 MiB, most of it in weights" in line
    (source / ".rayignore").write_text("*.bin\n")
    assert "no answer" in refused(weakbox, "submit", "run.yaml", "--address", NOBODY)


def test_what_is_left_behind(commands):
    """Breaks when runs, data, environments, caches, or what an ignore file names in any folder, are uploaded."""
    kept = ["run.yaml", "stages/data/loader.py", "stages/kept.tmp"]
    left = [
        *(".git/config", ".venv/bin/python", "runs/a/timeline.json", "data/1.jpg", ".mypy_cache/a.json"),
        *("stages/__pycache__/a.pyc", "weakbox.egg-info/PKG-INFO", "notes.tmp", "stages/big.bin"),
    ]
    for path in (*kept, *left):
        file = commands / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (commands / "dangling").symlink_to("nowhere")
    (commands / ".gitignore").write_text("/*.tmp\n")
    (commands / "stages" / ".rayignore").write_text("*.bin\n")
    packed = {file.relative_to(commands).as_posix() for file in upload.packed(commands)}
    assert packed == {*kept, ".gitignore", "stages/.rayignore"}


def test_the_config_is_found_in_the_source(source, monkeypatch):
    """Breaks when the job looks for the config at a path of the submitting machine."""
    (source / "configs").mkdir()
    (source / "configs" / "my run.yaml").touch()

    def found(config, working_dir=None):
        with upload.packaged(config, working_dir) as package:
            return package

    assert found("configs/my run.yaml") == (source.resolve(), "configs/my run.yaml", True)
    assert found(str(source / "run.yaml")) == (source.resolve(), "run.yaml", True)
    monkeypatch.chdir(source / "configs")
    assert found("../run.yaml", "..") == (source.resolve(), "run.yaml", True)


def test_a_folder_that_is_not_the_source_stays(commands):
    """Breaks when a folder's own jobs/ or pipeline/ hides the weakbox of the cluster, or private files travel."""
    (commands / "jobs").mkdir()
    (commands / "jobs" / "cli.py").touch()
    (commands / "private.txt").touch()
    (commands / "sub").mkdir()
    for config, working_dir in (("run.yaml", None), ("sub/../run.yaml", "sub")):
        with upload.packaged(config, working_dir) as package:
            assert [file.name for file in package.folder.iterdir()] == ["run.yaml"]
            assert (package.folder / package.config).read_text() == (commands / "run.yaml").read_text()
            assert not package.is_source
        assert not package.folder.exists()


@pytest.mark.parametrize("missing", SOURCE)
def test_what_is_our_source(source, missing):
    """Breaks when any folder with a jobs/ or a pyproject.toml counts as a checkout of weakbox."""
    assert upload.is_source(source)
    assert upload.is_source(Path(upload.__file__).parents[1])
    (source / missing).unlink()
    if missing.endswith("__init__.py"):
        (source / missing).parent.rmdir()
    assert not upload.is_source(source)


@pytest.mark.parametrize("text", ["[project]\nname = 'other'\n", "name = 'weakbox'\n", "project = 7\n", "[", "\x00"])
def test_another_project_is_not_our_source(source, text):
    """Breaks when a project that only looks like weakbox is uploaded, or a broken file gives a traceback."""
    (source / "pyproject.toml").write_text(text)
    assert not upload.is_source(source)


def test_the_entrypoint_keeps_every_argument_whole():
    """Breaks when the job's shell splits or expands a value, or its folder hides the installed weakbox."""
    changes = ("dataset.root=/my photographs", "stages.cam={a: [1, 2]}", "a.b=$HOME 'x' \"y\"")
    for is_source, flags in ((True, []), (False, ["-P"])):
        package = upload.Package(Path("/x"), "my configs/a.yaml", is_source)
        line = submit.entrypoint(package, changes, "boxes cam", ("cam", "d;dt"))
        words = ["python", *flags, "-m", "jobs.cli", "run", "my configs/a.yaml", "--address", "auto"]
        words += [word for change in changes for word in ("--set", change)]
        assert shlex.split(line) == [*words, "--only", "boxes cam", "--force", "cam", "--force", "d;dt"]


def test_places_go_along_whatever_they_are_called(commands):
    """Breaks when a relative place is looked for in the job's folder, or a name loses a letter on the way."""
    config = load_config("run.yaml", ["run_root=läufe/\N{CAMERA}'s", "dataset.root=bilder"])
    again = load_config("run.yaml", submit.places(config))
    assert again.run_root == config.run_root == f"{commands}/läufe/\N{CAMERA}'s"
    assert again.dataset["root"] == f"{commands}/bilder"


def test_weights_of_this_machine_go_to_the_run_root(commands):
    """Breaks when nodes look for a file of the submitting machine, it travels twice, or the recipe is another."""
    (commands / "my net.pth").write_bytes(b"weights")
    changes = ["stages={classify: {weights: my net.pth}, other: {stage: classify, weights: /no/such.pth}, cam: {}}"]
    config = load_config("run.yaml", changes)
    sent = submit.weights(config)
    digest = hashlib.sha256(b"weights").hexdigest()
    place = f"{config.run_root}/uploads/{digest}-my net.pth"
    assert sent == [f'stages.classify.weights="{place}"']
    assert Path(place).read_bytes() == b"weights"
    written = Path(place).stat().st_ino
    assert submit.weights(config) == sent
    assert Path(place).stat().st_ino == written
    there = load_config("run.yaml", [*changes, *sent])
    assert check_inputs(there.stage_objects(catalog)) == check_inputs(config.stage_objects(catalog))
    assert dict(there.stage_objects(catalog))["classify"].files() == {"weights": place}


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ("{classify: {backbone: 'timm:crossvit_9_240'}}", "stage classify: .*gives no map of features"),
        ("{classify: {weights: cut.safetensors}}", "stage classify: weights file cut.safetensors cannot be read"),
        ("{classify: {weights: 'memory://absent.pth'}}", "stage classify: weights file memory://absent.pth"),
        ("{classify: {}, cam: {}, sweep: {}, evaluate: {counts: [sweep], splits: [train]}}", "reports split train"),
    ],
)
def test_what_fails_on_any_cluster_is_not_submitted(stages, words, weakbox, commands):
    """Breaks when a job travels and waits for a cluster, to be told what could be known at home."""
    (commands / "cut.safetensors").write_bytes(b"12345678901234567890")
    (commands / "bad.yaml").write_text(f"run_root: r\ndataset: {{reader: folder, root: /d}}\nstages: {stages}\n")
    assert re.search(words, refused(weakbox, "submit", "bad.yaml", "--address", NOBODY))


def test_weights_that_only_the_cluster_has_are_its_own_concern(commands):
    """Breaks when a path that exists on the nodes alone cannot be submitted."""
    text = "run_root: r\ndataset: {reader: folder, root: /d}\nstages: {classify: {weights: /nodes/w.pth}}\n"
    (commands / "far.yaml").write_text(text)
    submit.check(load_config("far.yaml"))


def test_a_folder_that_a_stage_names_is_said_from_the_root_of_the_disk(commands):
    """Breaks when another program's maps, or another run, are looked for below the folder of the job."""
    (commands / "maps").mkdir()
    config = load_config(
        "run.yaml", ["stages={theirs: {stage: import, maps: maps}, of: {stage: model, run: r, of: x}}"]
    )
    here = Path.cwd()
    assert submit.weights(config) == [f'stages.theirs.maps="{here}/maps"', f'stages.of.run="{here}/r"']


def test_variables_with_and_without_a_value(monkeypatch):
    """Breaks when a value with = or a line break is cut, or a secret cannot be kept off the command line."""
    monkeypatch.setenv("SECRET", "as=here")
    variables = submit.parse_variables(["A=b=c", "EMPTY=", "SECRET", "TWO=1\n2"])
    assert variables == {"A": "b=c", "EMPTY": "", "SECRET": "as=here", "TWO": "1\n2"}


@pytest.mark.parametrize(
    ("status", "driver", "code"),
    [
        ("SUCCEEDED", 0, 0),
        ("FAILED", 1, 1),
        ("FAILED", 2, 2),
        ("FAILED", 3, 3),
        ("FAILED", 137, 1),
        ("FAILED", -9, 1),
        ("FAILED", None, 1),
        ("STOPPED", None, 3),
    ],
)
def test_exit_codes(status, driver, code):
    """Breaks when a code that weakbox does not know gets out, or a job that never started looks like anything but 1."""
    from ray.job_submission import JobDetails

    assert (
        job_server.exit_code(JobDetails(type="SUBMISSION", status=status, entrypoint="", driver_exit_code=driver))
        == code
    )


def test_jobs_of_weakbox_are_told_from_others():
    """Breaks when `weakbox jobs` lists foreign jobs, or misses those that `ray job submit` started."""
    from ray.job_submission import JobDetails

    def config(entrypoint, metadata=None):
        return job_server.config_of(
            JobDetails(type="SUBMISSION", status="RUNNING", entrypoint=entrypoint, metadata=metadata)
        )

    assert config("python -m jobs.cli run 'a b.yaml'", {job_server.CONFIG: "a b.yaml"}) == "a b.yaml"
    assert config("/opt/weakbox/bin/weakbox run a.yaml --address auto") == "a.yaml"
    assert config("python -m jobs.cli run b.yaml") == "b.yaml"
    assert config("python train.py run a.yaml") is None


def test_a_cluster_that_is_gone_ends_the_following(monkeypatch):
    """Breaks when a vanished cluster is asked for ever."""
    monkeypatch.setattr(job_server, "PATIENCE", 0.0)
    with served(200, '{"ray_version": "2.60.0"}') as address, job_server.client_of(address) as client:
        pass
    with pytest.raises(WeakboxError, match="no answer for 0 s, it may go on"):
        job_server.follow(client, "some")


def test_help_does_not_import_ray():
    """Breaks when `weakbox --help` waits for Ray's import."""
    program = "import sys, jobs.submit; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "False\n"


@contextlib.contextmanager
def served(status, body):
    """An HTTP server that answers everything alike; yields its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_ray_that_packs_in_another_way_is_named(tmp_path, monkeypatch):
    """Breaks when a Ray without the private names that packing is read by ends in a traceback."""
    monkeypatch.setitem(sys.modules, "ray._private.runtime_env.packaging", None)
    with pytest.raises(
        WeakboxError, match=r"^Ray [\d.]+ packs working folders in a way that this weakbox does not know"
    ):
        list(upload.packed(tmp_path))
