import os
import time
import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.planning.plan import make_plan
from pipeline.planning.walk import check_inputs
from pipeline.store.files import Files, _modified
from pipeline.store.layout import RAY_TRAIN, TRAININGS, RecipeFolder
from pipeline.store.records import Recipe, Shard, ShardResult
from pipeline.store.store import Store
from pipeline.upkeep import garbage
from pipeline.upkeep.verify import verify
from tests.cluster.conftest import s3_root  # noqa: F401
from tests.pipeline import fakes
from tests.pipeline.fakes import numbers

STAGE, RECIPE = "cam", "0123456789abcdef"
FOLDER = RecipeFolder(STAGE, RECIPE)
HOUR = 3600.0


@pytest.fixture(params=["local", "s3"])
def anywhere(request, tmp_path):
    """A store on a disk, and one on an object store, whose server keeps its objects from test to test."""
    base = str(tmp_path) if request.param == "local" else request.getfixturevalue("s3_root")
    return Store(f"{base}/{uuid.uuid4().hex}")


def commit(store, key):
    """One attempt at a shard: a part and a blob, named by the manifest if it is the first."""
    table = numbers(10 * ord(key[0]), 2)
    return store.commit(STAGE, RECIPE, key, ShardResult({"training": table}, {"note": b"hello"}))


def complete(store, *keys):
    """A stage of these shards, with its recipe, as a run leaves it."""
    done = {key: commit(store, key) for key in keys}
    store.write(FOLDER.recipe_file, Recipe(STAGE, 1, {}).ingredients())
    store.commit_set(STAGE, RECIPE, [Shard(key) for key in keys], done)
    return done


def killed(store, key):
    """An attempt that died before its manifest; returns its files."""
    done = commit(store, f"{key}x")
    store.files.remove(f"{STAGE}/{RECIPE}/done/{key}x.json")
    return paths_of(done)


def paths_of(done):
    return {entry.file for entry in done.files}


def everything(store):
    return {file.path for file in store.files.listing("")}


def listed(found):
    return {file.path for each in found for file in each.files}


def clean(store, older_than=0.0, planned=None):
    """Find and remove; returns the paths that are gone."""
    before = everything(store)
    found = garbage.find_garbage(store, older_than, planned)
    garbage.remove(store, found.old)
    assert before - everything(store) == listed(found.old)
    return before - everything(store)


def test_what_no_manifest_names_goes_and_the_rest_stays(anywhere):
    """Breaks when a named part is removed, or the parts and blobs of a lost or killed attempt are kept."""
    store = anywhere
    complete(store, "a", "b")
    sound = everything(store)
    lost = commit(store, "a")
    assert paths_of(lost) <= sound, "a loser is told the winner's files"
    needless = everything(store) - sound | killed(store, "c")
    found = garbage.find_garbage(store, 0)
    assert listed(found.old) == needless
    assert {each.reason for each in found.old} == {garbage.UNNAMED}
    assert everything(store) == sound | needless, "looking removes nothing, and leaves no trace of its clock"
    assert clean(store) == needless
    assert verify(store, [STAGE]).damage == []
    assert clean(store) == set()


def test_temporary_files_of_killed_writes_go(tmp_path):
    """Breaks when the file that a killed write left in any folder of a stage, or in the root, stays for ever."""
    store = Store(str(tmp_path))
    complete(store, "a")
    folders = ("", STAGE, f"{STAGE}/{RECIPE}", f"{STAGE}/{RECIPE}/done", f"{STAGE}/{RECIPE}/parts")
    for folder in folders:
        (tmp_path / folder / ".staged-k1ll3d").write_bytes(b"half")
    assert clean(store) == {f"{folder}/.staged-k1ll3d".lstrip("/") for folder in folders}


def test_young_files_stay(anywhere):
    """Breaks when a part that a running attempt has written, and not yet committed, is taken for garbage."""
    store = anywhere
    complete(store, "a")
    old = killed(store, "b")
    time.sleep(3.1)
    young = killed(store, "c")
    found = garbage.find_garbage(store, 2)
    assert (listed(found.old), listed(found.young)) == (old, young)
    assert clean(store, 2) == old


def test_this_machines_clock_decides_nothing(anywhere, monkeypatch):
    """Breaks when ages are counted by the clock of the machine that runs gc: an hour wrong, it removes running work."""
    complete(anywhere, "a")
    young = killed(anywhere, "b")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 1000 * HOUR)
    found = garbage.find_garbage(anywhere, HOUR)
    assert (listed(found.old), listed(found.young)) == (set(), young)


def test_a_storage_that_tells_no_time_loses_nothing(tmp_path, monkeypatch):
    """Breaks when an unknown age counts as old."""
    store = Store(str(tmp_path))
    complete(store, "a")
    needless = killed(store, "b")
    monkeypatch.setattr("pipeline.store.files._TIMES", ())
    found = garbage.find_garbage(store, 0)
    assert (listed(found.old), listed(found.young)) == (set(), needless)


@pytest.mark.parametrize(
    "said",
    [
        {"mtime": 1000.5, "created": 7.0},
        {"LastModified": datetime(1970, 1, 1, 0, 16, 40, 500_000, tzinfo=UTC)},
        {"updated": "1970-01-01T00:16:40.500Z"},
        {"mtime": None, "last_modified": datetime(1970, 1, 1, 2, 16, 40, 500_000, tzinfo=timezone(timedelta(hours=2)))},
    ],
)
def test_every_storage_says_when_in_its_own_words(said):
    """Breaks when the time of a local file, or of an object on S3, GCS or Azure, is not understood."""
    assert _modified(said) == 1000.5


class CommittingFiles(Files):
    """Another run commits a shard just after its parts were listed."""

    def __init__(self, root, path, manifest):
        super().__init__(root)
        self._late = path, manifest

    def listing(self, folder, depth=None):
        found = super().listing(folder, depth)
        if depth is None:
            self.put_if_absent(*self._late)
        return found


def test_a_commit_in_between_is_seen(tmp_path):
    """Breaks when manifests are read before parts are listed: a shard that is committed in between loses its parts."""
    store = Store(str(tmp_path))
    complete(store, "a")
    late = commit(store, "b")
    path = f"{STAGE}/{RECIPE}/done/b.json"
    manifest = store.files.get(path)
    store.files.remove(path)
    store.files = CommittingFiles(str(tmp_path), path, manifest)
    assert listed(garbage.find_garbage(store, 0).old) == set()
    assert Store(str(tmp_path)).done(STAGE, RECIPE, ["b"]) == {"b": late}


def test_what_a_damaged_manifest_names_is_not_guessed(anywhere):
    """Breaks when a cut manifest or set makes the parts of its shards look like garbage."""
    store = anywhere
    complete(store, "a", "b")
    killed(store, "c")
    (name,) = store.sets(STAGE, RECIPE)
    for path in (f"{STAGE}/{RECIPE}/done/a.json", f"{STAGE}/{RECIPE}/sets/{name}.json"):
        data = store.files.get(path)
        store.files.put(path, data[:-9])
        found = garbage.find_garbage(store, 0)
        assert (found.old, found.young) == ([], [])
        (line,) = found.left_alone
        assert path in line
        store.files.put(path, data)


def test_folders_that_are_no_stage_are_not_touched(tmp_path):
    """Breaks when a data set inside the run root, with folders of unlucky names, is cleaned up."""
    store = Store(str(tmp_path))
    complete(store, "a")
    for path in ("data/train/parts/1.jpg", "data/parts/blobs/2.jpg", f"data/{RECIPE}/3.jpg", "report.html"):
        store.files.put(path, b"mine")
    assert clean(store, planned={}) == set()


def training_files(store, key):
    """What a training on Ray leaves besides its shard."""
    checkpoint, notes = FOLDER.checkpoint(key), f"{FOLDER.area(RAY_TRAIN)}/{key}-0a1b2c3d/x/notes.json"
    for path in (checkpoint, notes):
        store.files.put(path, b"...")
    return {checkpoint, notes}


def test_finished_trainings_leave_no_checkpoint(anywhere):
    """Breaks when checkpoints pile up, or a training that is not finished loses its own."""
    store = anywhere
    finished, running = training_files(store, "a"), training_files(store, "b")
    complete(store, "a")
    found = garbage.find_garbage(store, 0)
    assert {each.reason for each in found.old} == {garbage.CHECKPOINT, garbage.RAY_TRAIN}
    assert clean(store) == finished
    assert running <= everything(store)
    assert store.files.names(FOLDER.area(TRAININGS)) == ["b"]


def test_ray_trains_folder_goes_as_a_whole(tmp_path):
    """Breaks when a run of Ray Train that still writes loses its older files."""
    store = Store(str(tmp_path))
    complete(store, "a")
    checkpoint, notes = sorted(training_files(store, "a"), key=len)
    store.files.put(notes.replace("notes", "newer"), b"...")
    for path in (checkpoint, notes):
        os.utime(tmp_path / path, (1, 1))
    assert clean(store, HOUR) == {checkpoint}


def ages(store, seconds):
    for path in everything(store):
        os.utime(os.path.join(store.files.root, path), (time.time() - seconds,) * 2)


def two_recipes(store, seconds=48 * HOUR):
    """Runs with note a, then note b: the stage `total` has two recipes. Gives (stages of a, stages of b)."""
    chosen = [fakes.stages(total={"note": note}) for note in "ab"]
    for stages in chosen:
        fakes.run(store, stages)
    ages(store, seconds)
    return chosen


def test_old_recipes_go_only_when_asked(store):
    """Breaks when results of other parameters go unasked, or those of this config, or the newest, go at all."""
    first, second = two_recipes(store)
    recipes = {
        note: make_plan(stages, store)["total"].recipe.id for note, stages in zip("ab", (first, second), strict=True)
    }
    assert check_inputs(first) == {name: stage.recipe for name, stage in make_plan(first, store).items()}
    assert clean(store, HOUR) == set()
    assert clean(store, HOUR, check_inputs(first)) == set(), "a is planned, b is newest"
    gone = clean(store, HOUR, check_inputs(second))
    assert {path.rpartition(recipes["a"])[0] for path in gone} == {"total/"}
    assert store.files.names("total") == sorted([recipes["b"], "newest.json"])
    assert fakes.run(store, second) == {}
    assert fakes.run(store, first) == {"total": 1}
    assert verify(store, first).damage == []


def test_a_recipe_with_one_young_file_stays_whole(store):
    """Breaks when the old part of a recipe that somebody works on goes."""
    first, second = two_recipes(store)
    old = make_plan(first, store)["total"].recipe.id
    store.files.put(f"total/{old}/parts/new-0a1b2c3d.training.parquet", b"...")
    assert clean(store, HOUR, check_inputs(second)) == set()


class Killed(BaseException):
    pass


class MortalFiles(Files):
    """Dies after so many removals."""

    def __init__(self, root, left):
        super().__init__(root)
        self._left = iter(range(left))

    def remove(self, path):
        if next(self._left, None) is None:
            raise Killed
        super().remove(path)


@pytest.mark.parametrize("survived", range(9))
def test_a_removal_that_is_cut_off_leaves_a_sound_store(store, survived):
    """Breaks when a kill leaves a set without its manifests or a manifest without its parts, or garbage for ever."""
    first, second = two_recipes(store)
    unnamed = RecipeFolder("total", make_plan(first, store)["total"].recipe.id).part("x", "0a1b2c3d", "training")
    store.files.put(unnamed, b"...")
    ages(store, 48 * HOUR)
    found = garbage.find_garbage(store, HOUR, check_inputs(second))
    assert 6 <= len(listed(found.old)) <= 8
    dying = Store(store.files.root)
    dying.files = MortalFiles(store.files.root, survived + 1)  # gc's own clock is the first
    try:
        garbage.remove(dying, garbage.find_garbage(dying, HOUR, check_inputs(second)).old)
    except Killed:
        assert survived < len(listed(found.old))
    assert verify(store, first).damage == [], "all small objects of all recipes, and the newest"
    for recipe in (name for name in store.files.names("total") if "." not in name):
        for done in store.manifests("total", recipe).values():
            assert paths_of(done) <= everything(store)
    clean(store, HOUR, check_inputs(second))
    assert listed(found.old).isdisjoint(everything(store))
    assert fakes.run(store, second) == {}


KEYS = st.sampled_from("abc")
STEPS = st.one_of(
    st.tuples(st.sampled_from(["commit", "killed", "forget", "training"]), KEYS),
    st.tuples(st.just("set"), st.frozensets(KEYS, min_size=1).map(lambda keys: "".join(sorted(keys)))),
)


@settings(max_examples=60)
@given(history=st.lists(STEPS, max_size=12))
def test_after_any_history_gc_leaves_what_is_named_and_nothing_else(history):
    """Breaks when some order of attempts, kills, growth and forgetting lets gc take a named file or leave garbage."""
    store = Store(f"memory://{uuid.uuid4().hex}")
    for step, keys in history:
        if step == "commit":
            commit(store, keys)
        elif step == "killed":
            killed(store, keys)
        elif step == "forget":
            store.forget(STAGE, RECIPE, [keys])
        elif step == "training":
            training_files(store, keys)
        else:
            complete(store, *keys)
    done = store.manifests(STAGE, RECIPE)
    clean(store)
    assert verify(store, [STAGE]).damage == []
    left = [path.split("/") for path in everything(store) if path.count("/") > 2]
    data = {"/".join(parts) for parts in left if parts[2] in ("parts", "blobs")}
    assert data == {path for manifest in done.values() for path in paths_of(manifest)}
    assert {parts[3].split("-")[0] for parts in left if parts[2] in ("train", "ray_train")}.isdisjoint(done)
    assert store.manifests(STAGE, RECIPE) == done
    assert clean(store) == set()


def test_an_empty_root_is_left_empty(tmp_path):
    """Breaks when looking at a root that no run has used makes it."""
    store = Store(str(tmp_path / "none"))
    assert garbage.find_garbage(store, 0) == garbage.Found()
    assert not os.path.exists(tmp_path / "none")
