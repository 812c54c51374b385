import hashlib
import uuid
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.base.hashing import set_id
from pipeline.planning.plan import make_plan
from pipeline.store.records import QuarantineRow, Recipe, Shard, ShardResult, quarantined
from pipeline.store.sealed import unseal
from pipeline.store.store import Store
from pipeline.upkeep.verify import verify
from schemas import TABLES
from tests.cluster.conftest import s3_root  # noqa: F401
from tests.pipeline import fakes
from tests.pipeline.fakes import numbers


def lines(store, stages):
    """What verify says of each damage."""
    return [str(each) for each in verify(store, stages).damage]


def content(store, path):
    """What a sealed object says."""
    return unseal(store.files.get(path))


@pytest.fixture
def done(store):
    """One stage of two shards, complete."""
    found = {
        key: store.commit("s", "r", key, ShardResult({"training": numbers(start, 2)}, {"note": b"hello"}))
        for key, start in (("a", 0), ("b", 2))
    }
    store.commit_set("s", "r", [Shard("a"), Shard("b")], found)
    return found


def test_a_sound_store_is_clean(store, done):
    """Breaks when verify sees damage that is not there, or looks at less than everything."""
    found = verify(store, ["s", "never_run"])
    assert (found.stages, found.files, found.rows, found.damage) == (1, 4, 4, [])


@pytest.mark.parametrize("damage", ["flip", "cut", "missing", "blob"])
def test_damage_is_found_and_named(store, done, damage):
    """Breaks when a flipped bit, a cut or missing part, or a changed blob passes verify."""
    file = done["a"].blobs["note"].file if damage == "blob" else done["a"].tables["training"].file
    data = store.files.get(file)
    if damage == "missing":
        store.files.remove(file)
    else:
        store.files.put(file, data[:-7] if damage == "cut" else bytes([data[0] ^ 1]) + data[1:])
    (line,) = lines(store, ["s"])
    assert line.startswith("s: ")
    assert file in line


def test_a_set_that_is_gone_is_damage(store, done):
    """Breaks when the newest complete set can vanish unseen."""
    recipe, name = store.newest("s")
    store.files.remove(f"s/{recipe}/sets/{name}.json")
    assert len(lines(store, ["s"])) == 1


def test_an_id_in_two_shards_is_damage(store):
    """Breaks when one image can be in two shards: every table's key is unique over the whole stage."""
    found = {key: store.commit("s", "r", key, ShardResult({"training": numbers(0, 2)})) for key in ("a", "b")}
    store.commit_set("s", "r", [Shard("a"), Shard("b")], found)
    (line,) = lines(store, ["s"])
    assert "epoch is not unique" in line


def test_a_part_of_another_table_is_damage_not_a_crash(store, done):
    """Breaks when a file that fits its checksum but not its schema stops verify instead of being reported."""
    entry = done["a"].tables["training"]
    recipe, name = store.newest("s")
    bad: list[QuarantineRow] = [{"image_id": "x", "uri": "x", "stage": "x", "reason": "x", "content_hash": None}]
    other = store.commit("t", "r", "k", ShardResult({}, quarantine=bad))
    data = store.files.get(other.tables["quarantine"].file)
    store.files.put(entry.file, data)
    changed = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    for path in (f"s/{recipe}/sets/{name}.json", "s/r/done/a.json"):
        said = content(store, path)
        (said["shards"][0]["done"] if "shards" in said else said)["tables"]["training"].update(changed)
        store.write(path, said)
    (line,) = lines(store, ["s"])
    assert "quarantine" in line


def small_objects(store):
    """The JSON objects of the stage `s` of `done`."""
    recipe, name = store.newest("s")
    store.write("s/r/recipe.json", Recipe("s", 1, {}).ingredients())
    return [f"s/{recipe}/done/a.json", f"s/{recipe}/sets/{name}.json", "s/newest.json", "s/r/recipe.json"]


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("cut", [0, 1, 0.5, -1])
def test_a_truncated_manifest_set_or_pointer_is_named_in_one_line(store, done, which, cut):
    """Breaks when a small object that is cut off crashes verify, passes, or is not named."""
    path = small_objects(store)[which]
    assert lines(store, ["s"]) == []
    data = store.files.get(path)
    store.files.put(path, data[: int(cut * len(data)) if cut == 0.5 else cut])
    (line,) = lines(store, ["s"])
    assert line.startswith("s: ")
    assert path in line
    assert "\n" not in line


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_any_changed_byte_of_a_manifest_is_seen(done, store, place, byte):
    """Breaks when some damage of a manifest stops verify, or goes unseen though the set holds a copy."""
    path = "s/r/done/a.json"
    data = bytearray(store.files.get(path))
    before = bytes(data)
    data[int(place * len(data))] = byte
    store.files.put(path, bytes(data))
    found = lines(store, ["s"])
    store.files.put(path, before)
    assert len(found) == (0 if bytes(data) == before else 1), found


def test_damage_on_an_object_store(s3_root):  # noqa: F811
    """Breaks when verify reads an object store otherwise than a disk."""
    store = Store(f"{s3_root}/{uuid.uuid4().hex}")
    fakes.run(store, fakes.stages())
    planned = make_plan(fakes.stages(), store)["each"]
    recipe, key, name = planned.recipe.id, planned.keys[0], set_id(planned.keys)
    part = planned.done[key].tables["training"].file
    assert lines(store, fakes.stages()) == []
    for path, said in (
        (part, f"{part} is missing"),
        (
            f"each/{recipe}/done/{key}.json",
            f"each/{recipe}/done/{key}.json is missing, and set each/{recipe}/sets/{name}.json names it",
        ),
        (f"each/{recipe}/sets/{name}.json", f"each/{recipe}/sets/{name}.json is missing"),
    ):
        data = store.files.get(path)
        store.files.remove(path)
        assert lines(store, fakes.stages()) == [f"each: {said}"]
        store.files.put(path, data[:-3])
        (line,) = lines(store, fakes.stages())
        assert path in line
        store.files.put(path, data)


def test_a_manifest_that_is_gone_is_damage(store, done):
    """Breaks when a set may name a shard that has no manifest any more."""
    store.files.remove("s/r/done/a.json")
    (line,) = lines(store, ["s"])
    assert line.startswith("s: s/r/done/a.json is missing, and set s/r/sets/")


def test_a_manifest_of_another_attempt_is_damage(store, done):
    """Breaks when the newest set may hold results that were computed again since."""
    store.files.remove("s/r/done/a.json")
    store.commit("s", "r", "a", ShardResult({"training": numbers(0, 2)}))
    (line,) = lines(store, ["s"])
    assert line.endswith("names another attempt at shard a than its manifest")


@pytest.mark.parametrize("change", [{"key": "b"}, {"stage": "t"}, {"tables": None}, {"blobs": {"x": {}}}, {"ok": "3"}])
def test_a_manifest_that_says_something_else_is_damage(store, done, change):
    """Breaks when valid JSON passes for a manifest that describes another shard, or no files."""
    data = content(store, "s/r/done/a.json")
    store.write("s/r/done/a.json", {**data, **change})
    (line,) = lines(store, ["s"])
    assert "s/r/done/a.json is damaged" in line


def test_a_set_under_another_name_is_damage(store, done):
    """Breaks when a set that lost a shard passes for complete."""
    recipe, name = store.newest("s")
    path = f"s/{recipe}/sets/{name}.json"
    store.write(path, {"shards": content(store, path)["shards"][:1]})
    (line,) = lines(store, ["s"])
    assert path in line


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("which", ["done", "sets", "newest.json"])
def test_removing_what_verify_says_lets_a_run_mend_the_store(store, which, cut):
    """Breaks when the advice in a line about damage leaves a store that no run makes whole."""
    chosen = fakes.stages()
    fakes.run(store, chosen)
    planned = make_plan(chosen, store)["each"]
    base = f"each/{planned.recipe.id}"
    paths = {"done": f"{base}/done/{planned.keys[0]}.json", "sets": f"{base}/sets/{set_id(planned.keys)}.json"}
    path = paths.get(which, "each/newest.json")
    if cut:
        store.files.put(path, store.files.get(path)[:-3])
        assert any(f"{path} is damaged" in line for line in lines(store, chosen))
    store.files.remove(path)
    if which == "done":
        store.files.remove(paths["sets"])
    assert fakes.run(store, chosen) == ({"each": 1} if which == "done" else {})
    assert lines(store, chosen) == []


def test_damage_outside_the_newest_set_is_found(store, done):
    """Breaks when a damaged manifest of another recipe waits for the run that goes back to it."""
    store.commit("s", "older", "k", ShardResult({"training": numbers(0, 1)}))
    store.files.put("s/older/done/k.json", b"{")
    (line,) = lines(store, ["s"])
    assert "s/older/done/k.json" in line


@pytest.mark.parametrize("counts", [{"ok": 3}, {"quarantined": 1}])
def test_counts_are_those_of_the_tables(store, done, counts):
    """Breaks when a manifest may count images that its tables do not hold."""
    recipe, name = store.newest("s")
    for path in (f"s/{recipe}/sets/{name}.json", "s/r/done/a.json"):
        said = content(store, path)
        (said["shards"][0]["done"] if "shards" in said else said).update(counts)
        store.write(path, said)
    (line,) = lines(store, ["s"])
    assert "shard a: " in line


class Images(fakes.Source):
    """A per-image stage of one image a shard."""

    kind = "images"
    outputs = ("images",)


def images(*names):
    kept = {"uri": "/", "label": 0, "label_name": "cat", "split": "train", "width": 9, "height": 9}
    return TABLES["images"].from_rows([{"image_id": name, "content_hash": "0", **kept} for name in names])


@pytest.mark.parametrize(("other", "bad"), [(("x",), ()), (("y",), ("x",)), (("y",), ("y",))])
def test_an_image_comes_out_once(store, other, bad):
    """Breaks when an image may be in two shards, or both come out and be quarantined."""
    refused = [quarantined("s", {"image_id": name, "uri": "/", "content_hash": None}, "bad") for name in bad]
    results = {"a": ShardResult({"images": images("x")}), "b": ShardResult({"images": images(*other)}, {}, refused)}
    found = {key: store.commit("s", "r", key, result) for key, result in results.items()}
    store.commit_set("s", "r", [Shard("a", rows=1), Shard("b", rows=1 + len(bad))], found)
    (line,) = lines(store, {"s": Images("s", fakes.SourceParams())})
    assert line.endswith(f"image_id is not unique over the stage's shards, e.g. {(bad or other)[0]}")


class Counted(fakes.Each):
    """Each, but for the number of rows, which only its worker could know: `localize` and `ddt` are so.

    By factor 0 it covers no image, as `localize` does those of a split that it is not asked for.
    """

    kind = "counted"

    def plan(self, recipe, inputs):
        shards = super().plan(recipe, inputs)
        return [replace(shard, rows_from=None, rows=shard.rows if self.params.factor else 0) for shard in shards]

    def worker(self, context):
        work = super().worker(context)

        def counted(task):
            result = work(task)
            return replace(result, rows_in=result.tables["training"].num_rows)

        return counted


def flowing(store, **source):
    """A finished run of source -> each, counted -> total."""
    chosen = fakes.stages(source=source, total={"numbers": ("each", "counted")})
    chosen["counted"] = Counted("counted", fakes.EachParams())
    fakes.run(store, chosen)
    return chosen


def recommit(store, stage, rows):
    """Replace the first shard of a finished stage by one of so many rows."""
    recipe, name = store.newest(stage)
    complete = store.complete_set(stage, recipe, name)
    shards, dones = complete.shards, dict(complete.dones)
    store.forget(stage, recipe, [shards[0].key])
    dones[shards[0].key] = store.commit(stage, recipe, shards[0].key, ShardResult({"training": numbers(100, rows)}))
    store.commit_set(stage, recipe, shards, dones)
    return shards[0].key


@pytest.mark.parametrize(("stage", "reads"), [("source", 4), ("each", 3), ("counted", 4)])
@pytest.mark.parametrize("rows", [2, 5])
def test_rows_in_are_rows_out_and_quarantined(store, stage, reads, rows):
    """Breaks when a shard may hold fewer or more images than it was given: of the data, or of the stage above."""
    chosen = flowing(store, bad=1)
    assert lines(store, chosen) == []
    key = recommit(store, stage, rows)
    first, *below = lines(store, chosen)
    assert first == f"{stage}: shard {key}: {reads} rows in, {rows} out and 0 quarantined"
    assert not below or stage == "source", "what read the shard as it was does not fit it any more"
    assert lines(store, list(chosen)) == [], "names alone do not say which stages are per-image"


def test_a_set_made_of_older_inputs_is_not_judged(store):
    """Breaks when verify takes growth, or a changed parameter, that was not run to the end for damage."""
    flowing(store, rows=8)
    grown = fakes.stages(source={"rows": 12})
    fakes.run(store, grown, only="source")
    assert lines(store, grown) == []
    changed = fakes.stages(source={"rows": 12, "flavour": "odd", "bad": 2})
    fakes.run(store, changed, only="source")
    assert lines(store, changed) == []


def test_a_changed_parameter_is_no_damage(store):
    """Breaks when results are judged by a plan of other parameters than they were made with."""
    chosen = flowing(store)
    chosen["counted"] = Counted("counted", fakes.EachParams(factor=0.0))
    assert lines(store, chosen) == []


def test_shards_that_are_to_be_computed_again_are_no_damage(store):
    """Breaks when a run that --force or retry-quarantine left unfinished looks broken."""
    chosen = flowing(store)
    recipe, name = store.newest("each")
    store.forget("each", recipe, list(store.complete_set("each", recipe, name).dones)[:1])
    assert lines(store, chosen) == []
    assert fakes.run(store, chosen) == {"each": 1}


def test_a_file_that_somebody_left_in_a_stages_folder_is_no_recipe(store, done):
    """Breaks when a file browser's own file beside the recipes is taken for one, and ends verify."""
    store.files.put("s/.DS_Store", b"x")
    assert lines(store, ["s"]) == []
