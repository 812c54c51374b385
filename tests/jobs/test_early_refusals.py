"""What is wrong is said before anything is computed, and nothing is lost by it."""

from pathlib import Path

import pytest
import yaml

from jobs.target import open_store, open_target, remember
from pipeline.base.errors import UsageError
from pipeline.store import layout
from pipeline.store.files import Files
from pipeline.store.layout import RecipeFolder
from pipeline.store.sealed import unseal
from tests import runs


def written(said: dict, folder: Path) -> str:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(said))
    return str(path)


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        ({"maps": "cam", "components": "union"}, "components largest, not union"),
        ({"maps": "ddt"}, "maps of cam, not of ddt"),
    ],
)
@pytest.mark.parametrize("verb", ["plan", "run"])
def test_a_threshold_of_another_rule_or_other_maps_stops_a_fresh_run_at_once(verb, boxes, words, weakbox, tmp_path):
    """Breaks when a run computes for days before it finds that boxes cannot be `validated`."""
    dataset = {"reader": "demo", "root": str(tmp_path / "data"), "train": 20, "test": 5}
    stages = {name: runs.STAGES[name] for name in ("classify", "cam", "ddt", "sweep_cam", "calibrate")}
    stages["boxes"] = {"thresholds": "calibrate", **boxes}
    said = {"run_root": str(tmp_path / "run"), "dataset": dataset, "stages": stages}
    code, _, err = weakbox(verb, written(said, tmp_path), *(["--in-process"] if verb == "run" else []))
    assert code == 2
    assert words in err
    assert not (tmp_path / "data").exists(), "not even the data set was made"
    assert not (tmp_path / "run" / "ingest").exists()


def test_forcing_a_source_whose_listing_is_trusted_lists_it(weakbox, run_copy, tmp_path):
    """Breaks when `--force ingest` under `rescan: false` forgets the shards and cannot compute them again."""
    run_copy["dataset"]["rescan"] = False
    config = written(run_copy, tmp_path)
    before = open_target(config).store.newest("ingest")
    code, _, err = weakbox("run", config, "--in-process", "--force", "ingest")
    assert code == 0, err
    assert open_target(config).store.newest("ingest") == before
    assert runs.missing(open_target(config)) == {}


def test_a_forced_source_that_is_gone_loses_nothing(weakbox, run_copy, tmp_path):
    """Breaks when shards are forgotten before the data set was found."""
    run_copy["dataset"]["rescan"] = False
    config = written(run_copy, tmp_path)
    assert weakbox("run", config, "--in-process")[0] == 0, "the data of the copy are listed where they are"
    (tmp_path / "copy" / "data").rename(tmp_path / "elsewhere")
    code, _, err = weakbox("run", config, "--in-process", "--force", "ingest")
    assert (code, err.count("\n")) == (2, 1), err
    assert runs.missing(open_target(config)) == {}


@pytest.mark.parametrize("content", [b"", b"{}", b'{"shards": [{"key": "x"}]}'])
def test_a_damaged_listing_is_named_and_heals(content, weakbox, run_copy, tmp_path):
    """Breaks when a listing that was cut off ends every verb in a traceback, or verify calls the run sound."""
    config = written(run_copy, tmp_path)
    store = open_target(config).store
    newest = store.newest("ingest")
    assert newest is not None
    path = Path(run_copy["run_root"]) / RecipeFolder("ingest", newest[0]).listing
    if not path.exists():  # made by a runner of its own
        assert weakbox("run", config, "--in-process")[0] == 0
    path.write_bytes(content)
    for verb in (["status"], ["plan"], ["run", "--in-process"], ["verify"]):
        code, _, err = weakbox(verb[0], config, *verb[1:])
        assert code == 1
        assert "listing.json is damaged" in err
        assert "Traceback" not in err
    path.unlink()
    assert weakbox("run", config, "--in-process")[0] == 0
    assert weakbox("verify", config)[0] == 0


def test_a_run_that_begins_meanwhile_has_no_other_layout(run_copy, tmp_path, monkeypatch):
    """Breaks when a root is read between the two files that a first run writes, and refused as an old one."""
    root = str(tmp_path / "fresh")
    target = open_target(written({**run_copy, "run_root": root}, tmp_path))
    read = Files.get_many

    def after_another_began(self, paths):
        found = read(self, paths)
        monkeypatch.setattr(Files, "get_many", read)
        remember(target)
        return found

    monkeypatch.setattr(Files, "get_many", after_another_began)
    open_store(root)
    assert unseal((tmp_path / "fresh" / "layout.json").read_bytes()) == {"layout": layout.VERSION}


def test_damaged_weights_are_one_line(run_copy, monkeypatch):
    """Breaks when weights that are cut off, or another network's, end a stage in a traceback of their library."""
    from stages.vision import models

    run_copy["stages"] = {"classify": runs.STAGES["classify"], "maps": {"stage": "cam", "input_size": 32}}
    monkeypatch.setattr(models, "load", lambda data: {})
    with pytest.raises(UsageError, match=r"^stage maps: the model's weights do not fit its network"):
        runs.execute(runs.target_of(run_copy))
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"^the model's weights are damaged"):
        models.read_weights(b"\xff" * 40)
