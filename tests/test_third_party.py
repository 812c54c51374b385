"""Stages and readers of other packages: found by their entry points, without a line of weakbox changed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.store.store import Store

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(__file__).parent / "third_party"


def weakbox(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, with the packages below `site` installed too."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{site}"}
    command = [sys.executable, "-m", "jobs.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250, cwd=site)


@pytest.fixture
def config(tmp_path, demo_data):
    """A config that reads photographs and boxes them by stage `whole`."""
    for label in ("3", "7"):
        shutil.copytree(demo_data / "train" / label, tmp_path / "data" / f"{label} photos")
    path = tmp_path / "config.yaml"
    said = {
        "run_root": str(tmp_path / "run"),
        "dataset": {"reader": "photos", "root": str(tmp_path / "data"), "dev_fraction": 0.5},
        "stages": {"whole": {}},
    }
    path.write_text(yaml.safe_dump(said))
    return path


def test_a_small_package_adds_a_stage_and_a_reader(tmp_path, config):
    """Breaks when an installed package cannot add a stage and a reader that plan, run and read back as ours do."""
    without = weakbox(tmp_path, "plan", str(config))
    assert without.returncode == 2
    assert "photos" in without.stderr

    source, site = tmp_path / "source", tmp_path / "site"
    shutil.copytree(PACKAGE, source)
    install = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "install",
        "--quiet",
        "--offline",
        "--no-deps",
        "--no-build-isolation",
    ]
    subprocess.run([*install, "--python", sys.executable, "--target", str(site), str(source)], check=True, timeout=250)

    for arguments in (["run", str(config), "--in-process"], ["plan", str(config)], ["verify", str(config)]):
        done = weakbox(site, *arguments)
        assert done.returncode == 0, done.stderr
    store = Store(str(tmp_path / "run"))
    newest = store.newest("whole")
    assert newest is not None
    complete = store.complete_set("whole", *newest)
    assert complete is not None
    rows = [row for done in complete.dones.values() for row in store.table(done, "predictions").to_pylist()]
    assert len(rows) == len(list((tmp_path / "data").rglob("*.jpg")))
    assert {row["split"] for row in rows} == {"train", "dev"}
    for row in rows:
        (box,) = row["boxes"]
        assert (box["x0"], box["y0"], box["x1"], box["y1"]) == (0, 0, row["image_width"], row["image_height"])


NAMELESS = """
from pipeline.contract.stage import TrainStage

class Nameless(TrainStage):
    version, outputs, Params = 1, (), type(None)

    def fit(self, task, context):
        raise NotImplementedError
"""


@pytest.mark.parametrize(
    ("group", "value", "said"),
    [
        ("weakbox.stages", "json:loads", "json:loads is no Stage"),
        ("weakbox.readers", "nothing.there:Reader", "nothing.there:Reader: No module named 'nothing'"),
        ("weakbox.stages", "stages.cam.stage:Cam", "'cam' is the name of"),
        ("weakbox.stages", "pipeline.contract.stage:Stage", "is no Stage, or leaves some of its methods out"),
        ("weakbox.stages", "nameless:Nameless", "nameless:Nameless has no attribute kind"),
        ("weakbox.readers", "leaves:Reader", "leaves:Reader: 3"),
    ],
)
def test_a_package_that_adds_nothing_usable_is_named(tmp_path, config, group, value, said):
    """Breaks when a broken or clashing package ends in a traceback, or silently wins over a stage of weakbox."""
    info = tmp_path / "site" / "odd-1.0.dist-info"
    info.mkdir(parents=True)
    (info.parent / "leaves.py").write_text("import sys; sys.exit(3)")
    (info.parent / "nameless.py").write_text(NAMELESS)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\nodd = {value}\n")
    done = weakbox(tmp_path / "site", "plan", str(config))
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
