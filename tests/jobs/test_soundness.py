import json
import random
import shutil
from pathlib import Path

import pytest

from pipeline.planning.plan import make_plan
from pipeline.store.layout import RecipeFolder
from pipeline.store.sealed import seal
from tests.equality import assert_runs_equal
from tests.jobs.guarded import Tree, call, finish, opened
from tests.jobs.test_flips import flip

BESIDE = ("layout.json", "config.json", "_runs", "timeline.json", "report.html")
"""The objects beside the stages; of a folder, the first in it."""


@pytest.fixture(scope="module")
def finished(finished_run, tmp_path_factory):
    """A folder with a finished run and its data, and what it holds."""
    folder = tmp_path_factory.mktemp("soundness")
    finish(folder, finished_run)
    shutil.copytree(folder / "run", folder / "sound")
    return folder, Tree(folder)


@pytest.fixture
def folder(finished):
    """The folder of config.yaml, data, run, and an untouched copy of the run; put back after the test."""
    folder, tree = finished
    yield folder
    tree.restore()


def targets(folder: Path) -> dict[str, str]:
    return {"config": str(folder / "config.yaml"), "root": str(folder / "run")}


def part_of(folder: Path, stage: str) -> Path:
    """A part of a stage."""
    return sorted((folder / "run" / stage).rglob("*.parquet"))[0]


def run_is_whole(folder: Path) -> None:
    """A run and a verification after it find nothing wrong, and the tables are those before all damage."""
    config = str(folder / "config.yaml")
    ended = call("run", config, "--in-process")
    assert ended.code == 0, ended.err
    assert call("verify", config).code == 0
    target, sound = opened(config), opened(config, f"run_root={folder / 'sound'}")
    names = [name for name in target.stages if name != "report"]  # which shows the moment it was made
    assert_runs_equal(target.store, sound.store, names)


def test_a_sound_root_is_clean(folder):
    """Breaks when verify, or a repair, finds damage that is not there."""
    for target in targets(folder).values():
        for options in ((), ("--repair",), ("--repair", "--yes"), ("--repair", "--yes", "--all")):
            ended = call("verify", target, *options)
            assert (ended.code, ended.err) == (0, "")
            assert "0 damaged" in ended.out


@pytest.mark.parametrize("options", [["--yes"], ["--all"], ["--repair", "--all"]])
def test_options_that_mean_nothing_are_refused(folder, options):
    """Breaks when --yes without --repair passes for a repair."""
    ended = call("verify", str(folder / "config.yaml"), *options)
    assert ended.code == 2
    assert ended.errors == ["weakbox: error: verify: --yes belongs to --repair, and --all to --repair --yes"]


@pytest.mark.parametrize("by", ["config", "root"])
@pytest.mark.parametrize("name", BESIDE)
def test_an_object_beside_the_stages(folder, name, by):
    """Breaks when the very objects that lead to a run, damaged, keep verify and repair from the root."""
    target = targets(folder)[by]
    path = folder / "run" / name
    if path.is_dir():
        path = sorted(path.iterdir())[0]
        name = f"{name}/{path.name}"
    flip(path, random.Random(1))
    ended = call("verify", target)
    assert ended.code == 1
    assert any(line.startswith(name) for line in ended.errors), ended.err
    assert ended.errors[-1] == "weakbox verify --repair shows what would make it sound"
    ended = call("verify", target, "--repair", "--yes")
    assert ended.code == 0, ended.err
    assert f"moves to damaged/: {name}" in ended.out
    assert [path.name for path in (folder / "run" / "damaged").rglob("*.*")] == [path.name]
    run_is_whole(folder)


def test_layout_and_config_at_once(folder):
    """Breaks when a root of which neither layout nor config can be read is beyond repair."""
    for name in ("layout.json", "config.json"):
        (folder / "run" / name).write_bytes(b"{}")
    assert call("status", str(folder / "run")).code == 1
    assert call("verify", str(folder / "run"), "--repair", "--yes").code == 0
    run_is_whole(folder)


def test_dry_says_what_is_done_and_does_nothing(folder):
    """Breaks when a dry repair changes a byte, or says other than what is done then."""
    config = str(folder / "config.yaml")
    flip(part_of(folder, "cam"), random.Random(2))
    manifest = sorted((folder / "run" / "truth").rglob("done/*.json"))[0]
    flip(manifest, random.Random(3))
    before = Tree(folder)
    dry = call("verify", config, "--repair")
    assert (dry.code, before.changes()) == (1, [])
    done = call("verify", config, "--repair", "--yes")
    assert done.code == 0, done.err
    was, now = (ended.out.splitlines()[:-1] for ended in (dry, done))
    assert [line.replace("would move", "moves").replace("would be written", "written") for line in was] == now
    assert f"would be written from a set that holds it: {manifest.relative_to(folder / 'run')}" in was
    assert "the next run computes again: 1 shards of cam" in was
    assert dry.out.splitlines()[-1] == "--yes does it"
    run_is_whole(folder)


def test_a_model_wants_all(folder):
    """Breaks when a model is given up by --yes alone, or not even by --all."""
    config = str(folder / "config.yaml")
    (weights,) = (folder / "run" / "classify").rglob("blobs/*/*.safetensors")
    flip(weights, random.Random(4))
    before = Tree(folder)
    assert "with --all only" in call("verify", config, "--repair").out
    ended = call("verify", config, "--repair", "--yes")
    assert (ended.code, before.changes()) == (1, [])
    assert ended.errors[-1].startswith("weakbox: error: nothing was moved: classify/")
    assert ended.errors[-1].endswith("would be trained again; --all does it all the same")
    assert call("verify", config, "--repair", "--yes", "--all").code == 0
    assert not weights.exists()


def test_what_no_config_plans_is_looked_at_too(folder):
    """Breaks when damage of an older recipe, or of how far a training was, waits for the run that meets it."""
    config = str(folder / "config.yaml")
    old = part_of(folder, "boxes_cam")
    changed = ("--set", "stages.boxes_cam.thresholds=null", "--set", "stages.boxes_cam.threshold=0.3")
    assert call("run", config, "--in-process", *changed).code == 0
    target = opened(config)
    stage = make_plan(target.stages, target.store)["classify"]
    progress = RecipeFolder("classify", stage.recipe.id).progress(stage.keys[0])
    for path, content in ((progress, {"epoch": "one"}), ("uploads/" + 64 * "0" + "-w.pt", {})):
        target.store.files.put(path, seal(content))
    flip(old, random.Random(5))
    ended = call("verify", config, *changed)
    assert ended.code == 1
    for name in (str(old.relative_to(folder / "run")), progress, "uploads/"):
        assert sum(name in line for line in ended.errors) == 1, ended.err
    assert call("verify", config, *changed, "--repair", "--yes").code == 0
    run_is_whole(folder)


def test_a_page_that_somebody_changed_is_noticed(folder):
    """Breaks when the report at the top of the root may say other than the one that was committed."""
    page = folder / "run" / "report.html"
    page.write_bytes(page.read_bytes().replace(b"0.", b"9.", 1))
    ended = call("verify", str(folder / "run"))
    assert (ended.code, ended.errors[0]) == (1, "report.html is no copy of a committed report")


def test_a_file_of_ones_own_in_the_root_is_no_damage(folder):
    """Breaks when notes, or numbers that a user saved there, are taken for damaged objects and moved away."""
    (folder / "run" / "metrics.json").write_text(json.dumps([]))
    (folder / "run" / "notes").write_text("mine")
    (folder / "run" / "cam" / "notes").write_text("mine")
    assert call("verify", str(folder / "run")).code == 0
