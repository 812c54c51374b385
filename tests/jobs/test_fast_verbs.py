"""Verbs that compute nothing: what they load, what they write, and that they leave the data set alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from jobs.target import open_target, remember
from pipeline.store import layout
from pipeline.store.sealed import seal
from stages.ingest.readers.folder import FolderReader
from tests import runs

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "torchvision", "numba", "pandas", "scipy", "sklearn", "cv2", "ray", "safetensors")

PROGRAM = """
import json, sys
from jobs import cli

try:
    cli.main(sys.argv[2:])
except SystemExit as end:
    print(json.dumps({"code": end.code, "loaded": [name for name in sys.argv[1].split() if name in sys.modules]}))
"""


def answer(*arguments: str) -> dict:
    """Exit code of a verb, and which heavy libraries its process loaded."""
    command = [sys.executable, "-c", PROGRAM, " ".join(HEAVY), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250)
    assert done.stdout, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    return {**said, "stderr": done.stderr}


@pytest.fixture
def config(run_copy, tmp_path):
    """The copied finished run as a config file; the run root is one that `weakbox run` made."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(run_copy))
    opened = open_target(str(path))
    remember(opened)
    assert runs.execute(opened) == {}, "the copied data are listed where they are now"
    return path


@pytest.mark.parametrize("verb", [["status"], ["metrics", "--json", "-"], ["plan"], ["gc"], ["retry-quarantine"]])
def test_a_verb_that_computes_nothing_loads_nothing_that_computes(verb, config, finished_run):
    """Breaks when showing a finished run of every stage imports torch, numba, pandas, scipy or Ray."""
    name, *options = verb
    said = answer(name, str(config), *options)
    assert (said["code"], said["loaded"]) == (0, []), said["stderr"]


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("verb", ["status", "plan", "metrics", "gc", "verify", "retry-quarantine"])
def test_looking_writes_nothing_where_nothing_is(verb, weakbox, tmp_path):
    """Breaks when looking at a run that never was composes its data set or makes its root: it once wrote 601 files."""
    config = tmp_path / "config.yaml"
    dataset = {"reader": "demo", "root": str(tmp_path / "data"), "train": 20, "test": 5}
    said = {"run_root": str(tmp_path / "run"), "dataset": dataset, "stages": {"classify": {}, "cam": {}}}
    config.write_text(yaml.safe_dump(said))
    before = files_below(tmp_path)
    weakbox(verb, str(config))
    assert files_below(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_looking_at_a_finished_run_changes_no_file(weakbox, config, tmp_path):
    """Breaks when a verb that shows a run writes into its root."""
    before = files_below(tmp_path)
    for verb in (["status"], ["metrics", "--json", "-"], ["plan"], ["gc"], ["verify"]):
        code, _, err = weakbox(verb[0], str(config), *verb[1:])
        assert code == 0, err
        assert files_below(tmp_path) == before, verb


def test_these_verbs_need_no_data_set(weakbox, config, tmp_path):
    """Breaks when a verb lists the data set: the person who looks may have none."""
    (tmp_path / "copy" / "data").rename(tmp_path / "elsewhere")
    for verb in ("status", "metrics", "verify", "gc"):
        code, _, err = weakbox(verb, str(config))
        assert code == 0, (verb, err)


def test_the_data_set_is_listed_once_a_command(run_copy, monkeypatch):
    """Breaks when planning and running list the data set one after the other."""
    scans = []
    scan = FolderReader.scan

    def counted(self):
        scans.append(self)
        return scan(self)

    monkeypatch.setattr(FolderReader, "scan", counted)
    runs.execute(runs.target_of(run_copy))
    assert len(scans) == 1
    run_copy["dataset"]["rescan"] = False
    runs.execute(runs.target_of(run_copy))
    assert len(scans) == 1


VERBS = ("plan", "run", "status", "metrics", "report", "export", "verify", "gc", "retry-quarantine")


@pytest.mark.parametrize("marker", [None, b'{"layout": 99}', b'{"layout": 2}', seal({"layout": 4}), b"{"])
def test_a_root_of_another_layout_is_refused_by_every_verb(marker, weakbox, config, tmp_path, run_copy):
    """Breaks when a run root of another version is misread, or when its refusal does not say what to do."""
    path = Path(run_copy["run_root"]) / layout.MARKER  # beside config.json
    if marker is None:
        path.unlink()  # the first layout had no marker
    else:
        path.write_bytes(marker)
    before = files_below(tmp_path)
    for verb in VERBS:
        options = ["--out", str(tmp_path / "out"), "--labels", "boxes_cam"] if verb == "export" else []
        for target in (str(config), run_copy["run_root"]):
            code, _, err = weakbox(verb, target, *options)
            assert files_below(tmp_path) == before, verb
            if marker == b"{":
                assert code == 1, (verb, err)
                assert "layout.json is damaged" in err
                assert "weakbox verify --repair" in err
                continue
            assert (code, err.count("\n")) == (2, 1), (verb, err)
            assert "choose a new run_root, or use the weakbox that wrote it" in err
