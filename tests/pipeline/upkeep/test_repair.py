import os
import shutil
from pathlib import Path

import pytest

from pipeline.store import layout
from pipeline.store.layout import RecipeFolder
from pipeline.store.store import Store
from pipeline.upkeep.repair import carry_out, plan_repair
from pipeline.upkeep.verify import verify
from tests.cluster.conftest import s3_root  # noqa: F401
from tests.equality import assert_runs_equal, newest_set
from tests.pipeline import fakes

STAGES = fakes.stages(source={"bad": 1}, total={"note": "hello"}, fit={})
OBJECTS = ("part", "second part", "blob", "manifest", "set", "newest", "recipe")
DAMAGES = ("flip", "cut", "gone", "folder", "link", "pipe")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A finished run, to be copied."""
    store = Store(str(tmp_path_factory.mktemp("sound") / "run"))
    fakes.run(store, STAGES)
    return store


@pytest.fixture
def store(sound, tmp_path):
    """A copy of it."""
    shutil.copytree(sound.files.root, tmp_path / "run")
    return Store(str(tmp_path / "run"))


def path_of(store, name, stage="each"):
    """An object of a stage."""
    recipe, chosen = store.newest(stage)
    folder, (done, second, *_) = RecipeFolder(stage, recipe), [*newest_set(store, stage).values()] * 2
    return {
        "part": lambda: done.tables["training"].file,
        "second part": lambda: second.tables["training"].file,
        "blob": lambda: next(iter(done.blobs.values())).file,
        "manifest": lambda: folder.manifest(done.key),
        "set": lambda: folder.complete_set(chosen),
        "newest": lambda: layout.newest(stage),
        "recipe": lambda: folder.recipe_file,
    }[name]()


def damage(store, path, how):
    """Damage one object; on an object store only what can happen there."""
    data = store.files.get(path)
    store.files.remove(path)
    file = Path(store.files.root) / path
    if how == "flip":
        middle = len(data) // 2
        store.files.put(path, data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :])
    elif how == "cut":
        store.files.put(path, data[: len(data) // 2])
    elif how == "folder":
        (file / "x").mkdir(parents=True)
    elif how == "link":
        outside = Path(store.files.root).parent / "outside"
        outside.write_bytes(data)
        file.symlink_to(outside)
    elif how == "pipe":
        os.mkfifo(file)


def lines(store):
    """What verify says of each damage."""
    return [str(each) for each in verify(store, STAGES).damage]


def repair(store):
    """Plan and carry out; gives the plan."""
    planned = plan_repair(store, verify(store, STAGES).damage)
    carry_out(store, planned)
    return planned


def holds(store):
    """Every file below the root, with its bytes."""
    return {file.path: store.files.get(file.path) for file in store.files.listing("")}


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", OBJECTS)
def test_each_damage_alone_is_mended(store, sound, name, how):
    """Breaks when some damage of some object is left, loses what was sound, or is not made again just as it was."""
    path = path_of(store, name, "total" if name == "blob" else "each")
    damage(store, path, how)
    found = lines(store)
    assert (how == "gone" and name in ("newest", "recipe")) or any(path in line for line in found), found
    planned = repair(store)
    assert planned.left == []
    assert lines(store) == [], "sound, though not complete"
    computed = fakes.run(store, STAGES)
    assert sum(computed.values()) == sum(planned.again.values()) <= 1, computed
    assert lines(store) == []
    assert_runs_equal(store, sound, STAGES)


def test_a_manifest_that_a_set_holds_is_not_computed_again(store):
    """Breaks when a repair throws away sound parts because their manifest is damaged."""
    path = path_of(store, "manifest", "fit")
    damage(store, path, "flip")
    planned = repair(store)
    assert (planned.refused, list(planned.manifests)) == ([], [path])
    assert fakes.run(store, STAGES) == {}


def test_nothing_is_deleted(store):
    """Breaks when a repair loses bytes: all that is not at its place lies below damaged/, under its own path."""
    for path in [path_of(store, name, "total" if name == "blob" else "each") for name in OBJECTS]:
        damage(store, path, "flip")
    before = holds(store)
    planned = plan_repair(store, verify(store, STAGES).damage)
    folder = carry_out(store, planned)
    after = holds(store)
    assert folder.startswith("damaged/")
    for path, data in before.items():
        assert after[f"{folder}/{path}" if path in planned.moves else path] == data


def test_planning_changes_nothing(store):
    """Breaks when looking at what a repair would do does some of it."""
    for path in [path_of(store, name) for name in ("part", "manifest", "set", "newest")]:
        damage(store, path, "flip")
    before = holds(store)
    planned = plan_repair(store, verify(store, STAGES).damage)
    assert planned.moves
    assert holds(store) == before


def damage_much(store):
    """Several objects of several stages at once; the model's too."""
    paths = [path_of(store, "part"), path_of(store, "second part"), path_of(store, "manifest", "source")]
    paths += [path_of(store, "blob", stage) for stage in ("total", "fit")] + [path_of(store, "newest", "source")]
    for path in [*paths, path_of(store, "recipe", "total")]:
        damage(store, path, "flip")


def test_several_at_once(store, sound):
    """Breaks when damages that meet in one shard, or in stages that read each other, are not all mended."""
    damage_much(store)
    planned = repair(store)
    assert len(planned.refused) == 2, "fit and total have both a log and files of their own"
    assert lines(store) == []
    fakes.run(store, STAGES)
    assert lines(store) == []
    assert_runs_equal(store, sound, STAGES)


@pytest.mark.parametrize("moves", range(12))
def test_a_repair_that_is_cut_off_is_taken_up_again(store, sound, monkeypatch, moves):
    """Breaks when a repair that was killed leaves what neither another repair nor a run makes whole."""
    damage_much(store)
    move, left = store.files.move, iter(range(moves))

    def cut_off(path, to):
        next(left)
        move(path, to)

    monkeypatch.setattr(store.files, "move", cut_off)
    with pytest.raises(StopIteration):
        repair(store)
    monkeypatch.undo()
    repair(store)
    fakes.run(store, STAGES)
    assert lines(store) == []
    assert_runs_equal(store, sound, STAGES)


@pytest.mark.parametrize("area", ["", "parts", "done", "sets"])
def test_a_linked_folder_moves_and_stays_what_it_is(store, sound, tmp_path, area):
    """Breaks when repair goes behind a link out of the root: it moves the link, and a run makes the folder anew."""
    recipe = RecipeFolder("each", store.newest("each")[0])
    place = Path(store.files.root) / (recipe.area(area) if area else "each")
    shutil.move(place, tmp_path / "outside")
    place.symlink_to(tmp_path / "outside")
    before = {path: path.read_bytes() for path in (tmp_path / "outside").rglob("*") if path.is_file()}
    assert lines(store)
    repair(store)
    assert lines(store) == []
    fakes.run(store, STAGES)
    assert lines(store) == []
    assert_runs_equal(store, sound, STAGES)
    assert {path: path.read_bytes() for path in (tmp_path / "outside").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["part", "blob", "manifest and set"])
def test_a_trained_model_is_not_given_up_unasked(store, name):
    """Breaks when a repair costs hours of training without saying so: also where no manifest says what it was."""
    for each in name.split(" and "):
        damage(store, path_of(store, each, "fit"), "flip")
    planned = plan_repair(store, verify(store, STAGES).damage)
    (line,) = planned.refused
    assert "a trained model is damaged" in line
    assert planned.again == {"fit": 1}


@pytest.mark.parametrize(("damaged", "refused"), [(10, False), (11, True)])
def test_many_damaged_shards_are_not_given_up_unasked(tmp_path, damaged, refused):
    """Breaks when an ill disk is taken for a few bad files, or a few bad files for an ill disk."""
    store, stages = Store(str(tmp_path / "run")), fakes.stages(source={"rows": 48})
    fakes.run(store, stages)
    for done in [*newest_set(store, "each").values()][:damaged]:
        damage(store, done.tables["training"].file, "flip")
    planned = plan_repair(store, verify(store, stages).damage)
    assert bool(planned.refused) == refused, planned.refused
    assert planned.again == {"each": damaged}
    assert not refused or "11 of 12 shards are damaged" in planned.refused[0]


def test_an_older_recipe_is_mended_too(store):
    """Breaks when damage outside of the newest sets is left for the run that goes back to them."""
    path = path_of(store, "part")
    other = fakes.stages(source={"bad": 1}, total={"note": "hello"}, fit={}, each={"factor": 3.0})
    fakes.run(store, other)
    damage(store, path, "flip")
    assert len(lines(store)) == 1
    repair(store)
    assert fakes.run(store, other) == {}
    assert fakes.run(store, STAGES) == {"each": 1}
    assert lines(store) == []


def test_on_an_object_store(s3_root, sound):  # noqa: F811
    """Breaks when a repair works on disks alone: an object store has neither links nor renames."""
    store = Store(s3_root)
    fakes.run(store, STAGES)
    damage_much(store)
    repair(store)
    assert lines(store) == []
    fakes.run(store, STAGES)
    assert lines(store) == []
    assert_runs_equal(store, sound, STAGES)
