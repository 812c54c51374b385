"""What a newcomer types first: init, stages, doctor."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from jobs import health
from jobs.target import open_target
from stages import catalog

ROOT = Path(__file__).resolve().parents[2]

CONFIGS = Path(health.__file__).parent / "configs"
NAMES = sorted(path.stem for path in (*CONFIGS.glob("*.yaml"), *CONFIGS.glob("papers/*.yaml")))


def test_init_lists_every_config_with_a_sentence(weakbox):
    """Breaks when a config comes along that nobody can find, or says nothing of itself."""
    code, out, _ = weakbox("init")
    lines = [line for line in out.splitlines()[1:] if line[:1] != " "]
    assert code == 0
    assert sorted(line.split()[0] for line in lines) == NAMES
    assert all(len(line.split()) > 4 for line in lines)


@pytest.mark.parametrize("name", NAMES)
def test_init_writes_a_config_that_says_how_it_is_run(weakbox, tmp_path, name, monkeypatch):
    """Breaks when the written file is another config, or its first lines name a file that an installed user lacks."""
    monkeypatch.chdir(tmp_path)
    code, out, _ = weakbox("init", name)
    text = (tmp_path / f"{name}.yaml").read_text()
    source = next(CONFIGS.rglob(f"{name}.yaml")).read_text()
    assert code == 0
    assert yaml.safe_load(text) == yaml.safe_load(source)
    assert "jobs/configs/" not in text
    assert f"weakbox run {name}.yaml" in out


def test_init_overwrites_nothing(weakbox, tmp_path):
    """Breaks when a config that somebody has edited is lost."""
    path = tmp_path / "my.yaml"
    path.write_text("mine")
    code, _, err = weakbox("init", "mini", "--out", str(path))
    assert code == 2
    assert "nothing is overwritten" in err
    assert path.read_text() == "mine"
    code, _, err = weakbox("init", "mimi", "--out", str(tmp_path / "other.yaml"))
    assert code == 2
    assert "did you mean 'mini'" in err
    assert not (tmp_path / "other.yaml").exists()


def test_stages_lists_kinds_and_parameters(weakbox):
    """Breaks when a kind or a parameter is missing, or a reader is not found by its own name."""
    code, out, _ = weakbox("stages", "--json", "-")
    assert code == 0
    assert [row["kind"] for row in json.loads(out)] == catalog.kinds()
    _, out, _ = weakbox("stages", "cam", "--json", "-")
    rows = {row["parameter"]: row for row in json.loads(out)}
    assert rows["model"]["sort"] == "input"
    assert rows["batch_size"]["default"] == "32"
    assert all(row["meaning"] for row in rows.values())
    assert weakbox("stages", "folder")[1].startswith("ingest.folder: ")
    code, _, err = weakbox("stages", "boxs")
    assert code == 2
    assert "did you mean 'boxes'" in err


def findings(target: str) -> dict[str, health.Finding]:
    return {finding.what: finding for finding in health.of_target(target)}


def test_doctor_says_what_a_run_would_meet(weakbox, tmp_path):
    """Breaks when missing data or an unknown layer is found only by the run, or the doctor writes something."""
    root = tmp_path / "run"
    config = {
        "run_root": str(root), "dataset": {"reader": "folder", "root": str(tmp_path / "pictures")},
        "stages": {"classify": {"epochs": 1}, "cam": {}, "ddt": {"tap": "nowhere"}},
    }  # fmt: skip
    path = tmp_path / "my.yaml"
    path.write_text(yaml.safe_dump(config))
    found = findings(str(path))
    assert found["ingest"].level == "bad"
    assert "is not there" in found["ingest"].said
    assert found["stages"].level == "bad"
    assert "nowhere" in found["stages"].said
    assert found["run root"].level == "good"
    assert not root.exists()
    code, out, _ = weakbox("doctor", str(path), "--no-ray")
    assert code == 1
    assert "nowhere" in out
    (tmp_path / "pictures").mkdir()
    path.write_text(yaml.safe_dump({**config, "stages": {"classify": {"epochs": 1}, "cam": {}}}))
    assert {finding.level for finding in findings(str(path)).values()} == {"good"}
    code, out, _ = weakbox("doctor", str(path), "--no-ray")
    assert code == 0
    assert "processors" in out
    assert open_target(str(path)).store.newest("classify") is None


def test_doctor_tells_what_is_not_installed(monkeypatch):
    """Breaks when a broken installation looks like a good one."""
    monkeypatch.setattr(health, "_is_installed", lambda name: name != "pyarrow")
    bad = [finding for finding in health.of_machine() if finding.level == "bad"]
    assert [finding.what for finding in bad] == ["libraries"]
    assert bad[0].said.startswith("not installed: pyarrow;")


def test_doctor_tries_ray(tmp_path):
    """Breaks when a Ray that cannot start is called good, or its remedy is lost."""
    code = "from jobs import health; (found,) = health.of_ray(); print(found.level, found.said)"
    environment = {**os.environ, "RAY_TMPDIR": str(tmp_path / "nowhere")}
    command = [sys.executable, "-c", code]  # this process may have a Ray, started for another test
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    said = done.stdout.splitlines()[-1]
    assert said.startswith("bad ")
    assert "RAY_TMPDIR" in said
    assert "--in-process" in said
