import contextlib
import json
import os
import shutil
import time
import uuid
from pathlib import Path

import pytest
import structlog
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import upkeep
from pipeline.base.errors import UsageError
from pipeline.planning.plan import make_plan
from pipeline.store.layout import RecipeFolder
from pipeline.store.store import Store
from pipeline.upkeep.dependents import find_dependents, forget
from pipeline.upkeep.verify import verify
from tests import runs
from tests.cluster.conftest import s3_root  # noqa: F401
from tests.equality import assert_runs_equal, attempts
from tests.pipeline import fakes

PER_IMAGE = {
    "ingest": "images", "classes": "predictions", "cam": "score_maps", "ddt": "score_maps",
    "boxes_cam": "pseudo_labels", "boxes_ddt": "pseudo_labels", "psol_boxes": "predictions",
}  # fmt: skip


def call(command, *arguments):
    """Run a command; gives (exit code, stdout). Errors pass through."""
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    return result.exit_code, result.stdout


@pytest.fixture(scope="module")
def sound(demo_data, tmp_path_factory):
    """A copy of the demo images, which tests may break and mend, and a run that never saw a broken one."""
    folder = tmp_path_factory.mktemp("upkeep")
    shutil.copytree(demo_data, folder / "data")
    with contextlib.chdir(folder):
        runs.execute(runs.target_of(configured("reference")))
    return folder


@pytest.fixture
def reference(sound, monkeypatch):
    """The run that never saw a broken image; the current folder is its own."""
    monkeypatch.chdir(sound)
    return runs.target_of(configured("reference"))


def configured(root, **stages):
    """The tiny run's config with changed stages, written to `config.yaml`."""
    config = runs.config("data", Path(root).absolute())
    config["stages"] = {**config["stages"], **stages}
    Path("config.yaml").write_text(yaml.safe_dump(config))
    return config


CHANGED = "changed since it was listed: run again with dataset.rescan: content"


class Broken:
    """A file with other bytes, of the same size and age; `mend` puts it back, as old as it was or as new as now."""

    def __init__(self, path):
        self._path, self._good = Path(path), Path(path).read_bytes()
        self._put(b"\0" * len(self._good))

    def mend(self, keep_age=True):
        self._put(self._good, keep_age)

    def _put(self, data, keep_age=True):
        times = self._path.stat()
        self._path.write_bytes(data)
        if keep_age:
            os.utime(self._path, ns=(times.st_atime_ns, times.st_mtime_ns))


def readers(planned, retried):
    """Stage -> keys of the shards that are tried again or read one, directly or not, as their plans say."""
    gone = {(name, key) for name, keys in retried.items() for key in keys}
    for name, stage in planned.items():
        for shard in stage.shards:
            if any((ref.stage, ref.key) in gone for refs in shard.inputs.values() for ref in refs):
                gone.add((name, shard.key))
    return {name: {key for stage, key in gone if stage == name} for name in {name for name, _ in gone}}


def recomputed(target, before):
    """Stage -> keys that are new, or whose attempt is another one now."""
    after = attempts(target.store, target.stages)
    changed = [(stage, key) for (stage, recipe, key), name in after.items() if before.get((stage, recipe, key)) != name]
    return {stage: {key for name, key in changed if name == stage} for stage in {stage for stage, _ in changed}}


def quarantined(target):
    """Stage -> keys of the shards with quarantined rows."""
    found = {name: {done.key for done in runs.dones(target, name) if done.quarantined} for name in target.stages}
    return {name: keys for name, keys in found.items() if keys}


def test_an_image_that_was_broken_after_ingest(reference):
    """Breaks when the retry leaves one result that was made without the image, or remakes one that never saw it."""
    target = runs.target_of(configured("after"))
    for stage in ("ingest", "classify"):
        shutil.copytree(f"reference/{stage}", f"after/{stage}")
    image = next(iter(runs.images(reference, "train").values()))
    broken = Broken(image["file"])
    runs.execute(target)
    broken.mend()
    assert runs.missing(target) == {}, "the run itself cannot know that the image is whole again"
    refused = quarantined(target)
    assert set(refused) == {"cam", "ddt"}

    before, planned = attempts(target.store, target.stages), make_plan(target.stages, target.store)
    code, said = call(upkeep.retry_quarantine, "config.yaml")
    assert code == 0
    assert f"{CHANGED} (1)" in said
    assert f"cam: {CHANGED}:\n  {image['image_id']}\n" in said
    with structlog.testing.capture_logs():  # of the listing
        code, said = call(upkeep.retry_quarantine, "config.yaml", "--json", "-")
    reason = {"image_id": image["image_id"], "reason": CHANGED}
    assert (code, json.loads(said)["images"]) == (0, [{"stage": name, **reason} for name in ("cam", "ddt")])
    assert runs.missing(target) == {}, "looking changes nothing"

    code, said = call(upkeep.retry_quarantine, "config.yaml", "--yes")
    assert (code, said.splitlines()[-1]) == (0, "weakbox run config.yaml")
    wanted = readers(planned, refused)
    assert {name: set(keys) for name, keys in runs.missing(target).items()} == wanted
    assert verify(target.store, target.stages).damage == []
    assert runs.execute(target) == {name: len(keys) for name, keys in wanted.items()}
    assert recomputed(target, before) == wanted
    assert_runs_equal(reference.store, target.store, target.stages)
    assert verify(target.store, target.stages).damage == []


def test_an_image_that_was_broken_at_ingest(reference):
    """Breaks when ingest's own quarantine is not tried again, or a model that was trained without the image stays."""
    classify = {**runs.STAGES["classify"], "refit": "on_growth"}
    refitted = runs.target_of(configured("refitted", classify=classify))
    runs.execute(refitted)
    target = runs.target_of(configured("at", classify=classify))
    image = next(iter(runs.images(reference, "train").values()))
    broken = Broken(image["file"])
    runs.execute(target)
    broken.mend()
    assert runs.missing(target) == {}
    assert set(quarantined(target)) == {"ingest"}
    before, planned = attempts(target.store, target.stages), make_plan(target.stages, target.store)
    wanted = readers(planned, quarantined(target))
    assert call(upkeep.retry_quarantine, "config.yaml", "--yes")[0] == 0
    runs.execute(target)
    changed = recomputed(target, before)
    assert {name: len(keys) for name, keys in changed.items()} == {name: len(keys) for name, keys in wanted.items()}
    assert changed["ingest"] == wanted["ingest"]
    assert changed["classify"], "its training did read the shard"
    assert changed["cam"].isdisjoint(wanted["cam"]), "another image has other keys"
    assert_runs_equal(refitted.store, target.store, target.stages)


def test_a_model_that_is_not_refitted_stays(reference):
    """Breaks when a repaired image costs a training that `refit: never` had excluded, or that is not said."""
    target = runs.target_of(configured("pinned"))
    broken = Broken(sorted(Path("data/train/3").iterdir())[0])
    runs.execute(target)
    broken.mend()
    before = attempts(target.store, target.stages)
    _, said = call(upkeep.retry_quarantine, "config.yaml", "--yes")
    assert "classify read some of them and is kept" in said
    runs.execute(target)
    changed = recomputed(target, before)
    assert "classify" not in changed
    assert len(changed["ingest"]) == len(changed["cam"]) == 1
    assert quarantined(target) == {}


@pytest.mark.parametrize("rescan", [True, False])
def test_a_mended_file_of_another_age(finished_run, demo_data, tmp_path, monkeypatch, rescan):
    """Breaks when a file that ingest plans anew is retried twice, or never where the listing is trusted."""
    shutil.copytree(demo_data, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    config = configured("run")
    target = runs.target_of(config)
    broken = Broken(sorted(Path("data/test/3").iterdir())[0])
    runs.execute(target)
    broken.mend(keep_age=False)
    before = attempts(target.store, target.stages)
    assert set(runs.missing(target)) >= {"ingest", "cam", "evaluate"}, "the folder reader plans the file anew by itself"
    trusting = {**config, "dataset": {**config["dataset"], "rescan": rescan}}
    _, said = call(upkeep.retry_quarantine, "config.yaml", "--yes", "--set", f"dataset.rescan={rescan}")
    assert said.splitlines()[-1] == f"weakbox run config.yaml --set dataset.rescan={rescan}"
    if rescan:
        assert "ingest: 1 more quarantined, in shards that the next run plans anew by itself" in said
        assert attempts(target.store, target.stages) == before
    runs.execute(runs.target_of(trusting))
    assert quarantined(target) == runs.missing(target) == {}
    for stage, table in PER_IMAGE.items():
        ids = [sorted(row["image_id"] for row in runs.rows(run, stage, table)) for run in (finished_run, target)]
        assert ids[0] == ids[1], stage
    images = [
        {row["image_id"]: {**row, "uri": "", "mask_uri": ""} for row in runs.rows(run, "ingest", "images")}
        for run in (finished_run, target)
    ]
    assert images[0] == images[1]
    assert verify(target.store, target.stages).damage == []


def test_of_many_images_the_first_are_named():
    """Breaks when thousands of names bury what to do, or reasons are mixed."""
    images = [{"image_id": f"{number:03d}.jpg", "reason": "torn"} for number in reversed(range(25))]
    lines = upkeep._named("cam", [*images, {"image_id": "x.jpg", "reason": "no image"}])
    names = [f"  {number:03d}.jpg" for number in range(20)]
    assert lines == ["cam: torn:", *names, "  and 5 more", "cam: no image:", "  x.jpg"]


def test_a_run_without_quarantine_has_nothing_to_retry(run_copy):
    """Breaks when a clean run is touched, or the answer is silence."""
    configured("run")
    target = runs.target_of(run_copy)
    before = attempts(target.store, target.stages)
    with structlog.testing.capture_logs():  # of the listing
        assert call(upkeep.retry_quarantine, "config.yaml", "--yes") == (0, "no image is quarantined\n")
    assert attempts(target.store, target.stages) == before
    with pytest.raises(UsageError, match="did you mean 'cam'"):
        call(upkeep.retry_quarantine, "config.yaml", "--stage", "camm")


def refused_of(planned):
    return {name: {done.key for done in stage.done.values() if done.quarantined} for name, stage in planned.items()}


STAGES = st.sampled_from(["source", "each", "total", "fit"])


@settings(max_examples=100)
@given(rows=st.integers(1, 30), size=st.integers(1, 9), picks=st.lists(st.tuples(STAGES, st.integers(0, 29))))
def test_what_hangs_on_a_shard_is_what_reads_it(rows, size, picks):
    """Breaks when planning with other keys finds other shards than following what each shard reads."""
    store = Store("memory://nothing-is-written")
    planned = make_plan(fakes.stages(source={"rows": rows, "size": size}, fit={}), store)
    retried: dict[str, set[str]] = {}
    for name, number in picks:
        retried.setdefault(name, set()).add(planned[name].keys[number % len(planned[name].keys)])
    stale = find_dependents(store, planned, retried)
    assert {each.stage: set(each.keys) for each in stale} == readers(planned, retried)
    order = list(planned)
    assert [order.index(each.stage) for each in stale] == sorted((order.index(e.stage) for e in stale), reverse=True)


@pytest.mark.parametrize("forgotten", range(4))
def test_forgetting_that_was_cut_off_is_found_again(tmp_path, forgotten):
    """Breaks when a kill leaves a result below a shard whose quarantine nobody sees any more."""
    store, chosen = Store(str(tmp_path)), fakes.stages(source={"bad": 2}, fit={})
    fakes.run(store, chosen, max_quarantined=1.0)
    planned = make_plan(chosen, store)
    stale = find_dependents(store, planned, refused_of(planned))
    assert len(stale) == 4
    forget(store, stale[:forgotten])
    again = make_plan(chosen, store)
    forget(store, find_dependents(store, again, refused_of(again)))
    assert fakes.run(store, chosen, max_quarantined=1.0) == {"source": 1, "each": 1, "fit": 1, "total": 1}


@pytest.mark.parametrize("storage", ["local", "s3"])
def test_results_of_other_parameters_that_read_the_shard_go_too(tmp_path, request, storage):
    """Breaks when going back to old parameters, or exporting again, finds what was made without the image."""
    base = tmp_path if storage == "local" else request.getfixturevalue("s3_root")
    store = Store(f"{base}/{uuid.uuid4().hex}")
    first, second = (fakes.stages(source={"bad": 2}, total={"note": note}) for note in "ab")
    elsewhere = fakes.stages(source={"flavour": "clean"})
    for chosen in (first, second, elsewhere):
        fakes.run(store, chosen, max_quarantined=1.0)
    planned = make_plan(second, store)
    stale = find_dependents(store, planned, refused_of(planned))
    (other,) = (each for each in stale if not each.planned)
    assert (other.stage, other.done) == ("total", 1)
    assert other.recipe == make_plan(first, store)["total"].recipe.id
    forget(store, stale)
    assert fakes.run(store, second, max_quarantined=1.0) == {"source": 1, "each": 1, "total": 1}
    assert fakes.run(store, first, max_quarantined=1.0) == {"total": 1}
    assert fakes.run(store, elsewhere) == {}, "what reads other shards stays"


def test_a_training_that_had_begun_without_the_image_begins_again(tmp_path):
    """Breaks when a checkpoint of a training on the incomplete images is taken up."""
    store, chosen = Store(str(tmp_path)), fakes.stages(source={"bad": 2}, fit={})
    fakes.run(store, {"source": chosen["source"]}, max_quarantined=1.0)
    planned = make_plan(chosen, store)
    checkpoint = RecipeFolder("fit", planned["fit"].recipe.id).checkpoint(planned["fit"].keys[0])
    store.files.put(checkpoint, b"half-way")
    forget(store, find_dependents(store, planned, refused_of(planned)))
    assert not store.files.exists(checkpoint)


@pytest.fixture
def littered(run_copy):
    """A finished run with the parts of a killed attempt, two days old, and of a running one."""
    configured("run")
    target = runs.target_of(run_copy)
    done = runs.dones(target, "cam")[0]
    parts = f"run/cam/{done.recipe}/parts"
    for path in Path("run").rglob("*"):
        os.utime(path, (time.time() - 48 * 3600,) * 2)
    for name in ("killed", "running"):
        Path(parts, f"{name}-0a1b2c3d.score_maps.parquet").write_bytes(b"x" * 1500)
    os.utime(f"{parts}/killed-0a1b2c3d.score_maps.parquet", (time.time() - 48 * 3600,) * 2)
    return target, Path(parts, "killed-0a1b2c3d.score_maps.parquet"), Path(parts, "running-0a1b2c3d.score_maps.parquet")


def test_gc_lists_first_and_removes_when_told(littered):
    """Breaks when gc removes without --yes, touches young files or the run itself, or hides what it found."""
    target, killed, running = littered
    checkpoints = len(list(Path("run").rglob("state.pt")))
    code, said = call(upkeep.gc, "config.yaml")
    assert code == 0
    assert "no manifest names it" in said
    assert f"{1 + checkpoints} files, " in said
    assert "--yes removes them; 1 files, 1.5 kB written in the last 24 h stay" in said
    assert killed.exists()
    code, said = call(upkeep.gc, "config.yaml", "--yes", "--json", "-")
    found = json.loads(said)
    assert (code, found["removed"], found["left_alone"]) == (0, True, [])
    (unnamed,) = (row for row in found["garbage"] if row["what"] == "no manifest names it")
    assert unnamed["paths"] == [str(killed.relative_to("run"))]
    assert (unnamed["stage"], unnamed["files"], unnamed["bytes"]) == ("cam", 1, 1500)
    assert sum(len(row["paths"]) for row in found["young"]) == 1
    assert (killed.exists(), running.exists()) == (False, True)
    assert runs.missing(target) == {}
    assert verify(target.store, target.stages).damage == []
    assert call(upkeep.gc, "config.yaml", "--older-than", "0", "--yes")[0] == 0
    assert not running.exists()
    assert call(upkeep.gc, "config.yaml", "--older-than", "0") == (0, "nothing to remove\n")


def test_gc_recipes_keeps_what_the_config_plans(littered):
    """Breaks when --recipes removes results of this config, or leaves those of the parameters before."""
    target, *_ = littered
    threshold = ("--set", "stages.boxes_ddt.threshold=0.1")
    code, said = call(upkeep.gc, "config.yaml", *threshold, "--recipes", "--json", "-")
    assert code == 0
    assert "recipe that is neither planned nor newest" not in {row["what"] for row in json.loads(said)["garbage"]}
    changed = configured("run", boxes_ddt={**runs.STAGES["boxes_ddt"], "threshold": 0.1})
    runs.execute(runs.target_of(changed))
    assert call(upkeep.gc, "config.yaml", "--recipes", "--yes")[0] == 0
    assert runs.missing(runs.target_of(changed)) == {}
    assert set(runs.missing(target)) == {"boxes_ddt", "evaluate"}


def test_gc_needs_no_data(littered):
    """Breaks when the data set must be within reach to clean up after runs on it."""
    shutil.rmtree("data")
    assert call(upkeep.gc, "config.yaml", "--recipes", "--yes")[0] == 0


@pytest.mark.parametrize(
    ("size", "said"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2e6, "2.0 MB"), (3e9, "3.0 GB"), (4e15, "4000.0 TB")],
)
def test_sizes_are_for_people(size, said):
    """Breaks when a size is off by a factor of a thousand."""
    assert upkeep._size(size) == said
