"""The data set of links and the run on it in small: both must be like any others."""

import yaml

from benchmarks.linked_images import make
from benchmarks.listed_run import run_on_listing
from pipeline.config.run_config import load_config
from pipeline.planning.plan import make_plan
from pipeline.store.store import Store
from pipeline.upkeep.verify import verify
from stages import catalog


def test_it_has_so_many_files_in_so_many_folders(tmp_path):
    """Breaks when images are lost or doubled where they do not divide by the classes, or a class has none."""
    make(tmp_path / "data", images=100, classes=7)
    names = [path.name for path in (tmp_path / "data").rglob("*.JPEG")]
    assert len(set(names)) == len(names) == 100
    counts = [sum(1 for _ in folder.iterdir()) for folder in (tmp_path / "data").iterdir()]
    assert len(counts) == 7
    assert set(counts) == {14, 15}
    assert len({path.stat().st_ino for path in (tmp_path / "data").rglob("*.JPEG")}) == 64


def test_a_run_on_the_listing_alone_is_finished_and_sound(tmp_path):
    """Breaks when the timed plan would have something to run, or what was committed is no images table."""
    make(tmp_path / "data", images=1300, classes=3)
    path = tmp_path / "config.yaml"
    data = {"run_root": str(tmp_path / "run"), "dataset": {"reader": "folder", "root": str(tmp_path / "data")}}
    path.write_text(yaml.safe_dump(data))
    run_on_listing(path)
    config = load_config(str(path))
    stages, store = config.stage_objects(catalog), Store(config.run_root)
    planned = make_plan(stages, store)
    assert not any(stage.missing for stage in planned.values())
    assert sum(done.ok for done in planned["ingest"].done.values()) == 1300
    assert verify(store, list(stages)).damage == []
