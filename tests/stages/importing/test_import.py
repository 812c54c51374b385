"""Maps and boxes of another program in a run: the same numbers as our own, and nothing of theirs is trusted."""

import csv
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.base.errors import UsageError
from stages.vision.masks import decode
from tests import runs
from tests.exports import coco_of

COUNTED = ("split", "half", "rule", "iou", "images", "counts")


@pytest.fixture
def maps(finished_run) -> dict[str, np.ndarray]:
    """The maps of `cam` as another program would have them."""
    return {
        row["image_id"]: np.array(row["map"], np.float32).reshape(row["height"], row["width"])
        for row in runs.rows(finished_run, "cam", "score_maps")
    }


def save_npy(folder: Path, maps: dict[str, np.ndarray]) -> Path:
    for image_id, score_map in maps.items():
        path = folder / f"{image_id}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, score_map)
    return folder


def save_rows(folder: Path, maps: dict[str, np.ndarray]) -> Path:
    """One file; a map is a list of its rows. Row groups of seven rows, so that they cross those of the run."""
    table = pa.table({"image_id": list(maps), "map": [score_map.tolist() for score_map in maps.values()]})
    pq.write_table(table, folder.with_suffix(".parquet"), row_group_size=7)
    return folder.with_suffix(".parquet")


def save_flat(folder: Path, maps: dict[str, np.ndarray]) -> Path:
    """Two files in a folder, in another order than the run's, a map one list beside its height and width."""
    folder.mkdir()
    names = sorted(maps, reverse=True)
    for number, part in enumerate((names[::2], names[1::2])):
        own = [maps[name] for name in part]
        columns = {"height": [m.shape[0] for m in own], "width": [m.shape[1] for m in own]}
        table = pa.table({"image_id": part, "map": [m.ravel() for m in own], **columns})
        pq.write_table(table, folder / f"{number}.parquet")
    return folder


def imported(config: dict[str, Any], **stages: Any) -> dict[str, Any]:
    return {**config, "stages": {**config["stages"], **stages}}


def run(config: dict[str, Any]) -> tuple[Any, dict[str, int]]:
    target = runs.target_of(config)
    return target, runs.execute(target)


def of_maps(config, place, **more: Any) -> dict[str, Any]:
    return imported(
        config,
        theirs={"stage": "import", "maps": str(place), **more},
        sweep_theirs={"stage": "sweep", "maps": "theirs"},
        evaluate_both={"stage": "evaluate", "counts": ["sweep_theirs", "sweep_cam"], "splits": ["test"]},
        boxes_theirs={"stage": "boxes", "maps": "theirs", "threshold": 0.4},
        boxes_ours={"stage": "boxes", "maps": "cam", "threshold": 0.4},
        arm_theirs={"stage": "arm", "maps": "theirs", "size": 32, "iterations": 2},
    )


@pytest.mark.parametrize("save", [save_npy, save_rows, save_flat])
def test_our_own_maps_come_back_as_they_left(run_copy, maps, tmp_path, save):
    """Breaks when a map is rounded, transposed, or given to another image on its way in, whichever form it has."""
    target, _ = run(of_maps(run_copy, save(tmp_path / "maps", maps)))
    theirs, ours = (
        [
            {name: row[name] for name in COUNTED}
            for row in runs.rows(target, f"sweep_{whose}", "counts")
            if row["rule"] not in ("largest", "all")  # counted at other thresholds, with the same metrics
        ]
        for whose in ("theirs", "cam")
    )
    assert theirs == ours != []
    metrics = runs.rows(target, "evaluate_both", "metrics")
    found = [sorted((row["metric"], row["value"]) for row in metrics if row["source"] == s) for s in ("theirs", "cam")]
    assert found[0] == found[1] != []
    theirs, ours = (runs.rows(target, f"boxes_{whose}", "pseudo_labels") for whose in ("theirs", "ours"))
    assert [(row["image_id"], row["boxes"], row["masks"]) for row in theirs] == [
        (row["image_id"], row["boxes"], row["masks"]) for row in ours
    ]
    assert {row["method"] for row in theirs} == {"theirs"}
    assert len(runs.rows(target, "arm_theirs", "score_maps")) == len(maps)


def test_maps_keep_every_bit(run_copy, maps, tmp_path):
    """Breaks when float32 goes through float16, or float64 is refused."""
    fine = {name: score_map.astype(np.float64) + 1e-6 for name, score_map in maps.items()}
    target, _ = run(of_maps(run_copy, save_npy(tmp_path / "maps", fine)))
    rows = {row["image_id"]: row for row in runs.rows(target, "theirs", "score_maps")}
    for name, score_map in fine.items():
        np.testing.assert_array_equal(np.array(rows[name]["map"], np.float32), score_map.astype(np.float32).ravel())


class Explodes:
    def __reduce__(self):
        return (os.mkdir, ("exploded",))


def test_a_bad_file_is_a_row_in_quarantine(run_copy, maps, tmp_path):
    """Breaks when one bad file ends the run, is taken for a map, or runs what it holds."""
    folder = save_npy(tmp_path / "maps", maps)
    names = sorted(maps)[:8]
    paths = dict(zip(("gone", "pickled", "whole", "cut", "nan", "flat", "large", "link"), names, strict=True))
    place = {why: folder / f"{name}.npy" for why, name in paths.items()}
    place["gone"].unlink()
    np.save(place["pickled"], np.array([Explodes()], object), allow_pickle=True)
    np.save(place["whole"], np.zeros((4, 4), np.int64))
    place["cut"].write_bytes(place["cut"].read_bytes()[:-8])
    np.save(place["nan"], np.full((4, 4), np.nan))
    np.save(place["flat"], np.zeros(16))
    np.save(place["large"], np.full((224, 224), 1.5))
    place["link"].unlink()
    place["link"].symlink_to("/etc/passwd")
    target, _ = run(of_maps(run_copy, folder))
    reasons = {row["image_id"]: row["reason"] for row in runs.rows(target, "theirs", "quarantine")}
    said = {
        "gone": "has no map of it",
        "pickled": "dtype is object",
        "whole": "dtype is int64",
        "cut": "fewer numbers than it says",
        "nan": "a NaN or an infinity",
        "flat": "should be (height, width)",
        "large": "frame: min_max stretches it",
        "link": "links are not followed",
    }
    assert reasons.keys() == set(names)
    for why, words in said.items():
        assert words in reasons[paths[why]], why
    assert not Path("exploded").exists()
    assert len(runs.rows(target, "theirs", "score_maps")) == len(maps) - len(names)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ({"map": [[[0.1, 0.2], None]]}, "none is missing"),
        ({"map": [[[0.1], [0.2, 0.3]]]}, "differ in length"),
        ({"map": [[0.1, 0.2, 0.3]], "height": [2.0], "width": [2.0]}, "and height x width numbers"),
        ({"map": [[0.1, 0.2]], "height": [None], "width": [2]}, "its map is invalid"),
        ({"map": [{"a": 1.0}]}, "a map is a list"),
    ],
)
def test_a_bad_map_in_a_table_is_a_row_in_quarantine(run_copy, maps, tmp_path, column, said):
    """Breaks when one bad row ends the stage, whatever pyarrow or numpy say of it."""
    pq.write_table(pa.table({"image_id": [min(maps)], **column}), tmp_path / "maps.parquet")
    target, _ = run(imported(run_copy, theirs={"stage": "import", "maps": str(tmp_path / "maps.parquet")}))
    reasons = {row["image_id"]: row["reason"] for row in runs.rows(target, "theirs", "quarantine")}
    assert said in reasons[min(maps)]
    assert len(reasons) == len(maps)


def test_ids_of_another_type_are_found(run_copy, maps, tmp_path):
    """Breaks when ids that are bytes are cast for the search and not for the answer."""
    rows = [score_map.tolist() for score_map in maps.values()]
    table = pa.table({"image_id": pa.array([name.encode() for name in maps]), "map": rows})
    pq.write_table(table, tmp_path / "maps.parquet")
    target, _ = run(imported(run_copy, theirs={"stage": "import", "maps": str(tmp_path / "maps.parquet")}))
    assert len(runs.rows(target, "theirs", "score_maps")) == len(maps)


def test_a_pickle_alone_is_not_run(run_copy, maps, tmp_path):
    """Breaks when a file without numpy's header is unpickled."""
    folder = save_npy(tmp_path / "maps", maps)
    name = min(maps)
    (folder / f"{name}.npy").write_bytes(pickle.dumps(Explodes()))
    target, _ = run(of_maps(run_copy, folder))
    assert [row["image_id"] for row in runs.rows(target, "theirs", "quarantine")] == [name]
    assert not Path("exploded").exists()


def test_only_what_changed_is_computed_again(run_copy, maps, tmp_path):
    """Breaks when a copied folder of the same maps computes everything again, or a changed map nothing."""
    folder = save_npy(tmp_path / "maps", maps)
    config = of_maps(run_copy, folder)
    run(config)
    save_npy(folder, maps)
    target, computed = run(config)
    shards = len(runs.dones(target, "theirs"))
    assert computed == {"theirs": shards}, "the times of writing alone are others"
    name = min(maps)
    save_npy(folder, {name: maps[name][::-1]})
    _, computed = run(config)
    counted = {computed.pop(stage, 1) for stage in ("sweep_theirs", "evaluate_both")}  # if its split is counted
    assert (computed, counted) == ({"theirs": shards, "boxes_theirs": 1, "arm_theirs": 1}, {1})
    moved = folder.rename(tmp_path / "moved")
    _, computed = run(of_maps(run_copy, moved))
    assert computed == {"theirs": shards}, "a folder may move"


def test_other_maps_of_the_same_sizes_and_times_are_read(run_copy, maps, tmp_path):
    """Breaks when files that an archive gave the times of others pass for them."""
    places = [save_npy(tmp_path / name, kept) for name, kept in (("a", maps), ("b", {n: -m for n, m in maps.items()}))]
    for place in places:
        for path in (*place.rglob("*"), place):
            os.utime(path, (1, 1))
        target, _ = run(of_maps(run_copy, place))
    rows = {row["image_id"]: row["map"] for row in runs.rows(target, "theirs", "score_maps")}
    for name, score_map in maps.items():
        np.testing.assert_array_equal(rows[name], -score_map.ravel())


def boxes_of(target, stage: str = "boxes_cam") -> list[dict[str, Any]]:
    return runs.rows(target, stage, "pseudo_labels")


def of_boxes(config, place) -> dict[str, Any]:
    config = imported(
        config,
        theirs={"stage": "import", "boxes": str(place), "method": "detector"},
        psol_theirs={"stage": "psol", "labels": "theirs", "epochs": 1, "batch_size": 16},
    )
    evaluate = {**config["stages"]["evaluate"], "labels": ["boxes_cam", "theirs"]}
    return imported(config, evaluate=evaluate)


def save_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Worst boxes first: the file's order says nothing."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "x0", "y0", "x1", "y1", "score"])
        for row in rows:
            for box in reversed(row["boxes"]):
                writer.writerow([row["image_id"], *(repr(box[n]) for n in ("x0", "y0", "x1", "y1", "score"))])
    return path


def save_coco(path: Path, target) -> Path:
    """What stage `export` writes, the splits in one document."""
    images = runs.rows(target, "ingest", "images")
    split = dict.fromkeys((row["image_id"] for row in images), "train")
    one = [{**row, "split": split[row["image_id"]]} for row in images]
    path.write_text(json.dumps(coco_of(one, boxes_of(target))["train"]))
    return path


def metric(target, source: str, name: str) -> list[float]:
    return [
        row["value"]
        for row in runs.rows(target, "evaluate", "metrics")
        if (row["source"], row["metric"]) == (source, name)
    ]


@pytest.mark.parametrize("form", ["csv", "coco"])
def test_our_own_boxes_come_back_as_they_left(run_copy, finished_run, tmp_path, form):
    """Breaks when a corner is shifted or rounded, the best box is not the first, or a mask is put to another box."""
    ours = boxes_of(finished_run)
    path = tmp_path / ("boxes.csv" if form == "csv" else "boxes.json")
    place = save_csv(path, ours) if form == "csv" else save_coco(path, finished_run)
    target, _ = run(of_boxes(run_copy, place))
    theirs = {row["image_id"]: row for row in boxes_of(target, "theirs")}
    assert len(theirs) == len(ours)
    for row in ours:
        found = theirs[row["image_id"]]
        assert found["boxes"] == row["boxes"]
        assert found["masks"] == (row["masks"] if form == "coco" else None)
        assert (found["method"], found["source"], found["threshold_choice"]) == ("detector", "theirs", None)
    assert metric(target, "theirs", "gt_known") == metric(target, "boxes_cam", "gt_known") != []
    masked = metric(target, "boxes_cam", "mask_iou") if form == "coco" else []
    assert metric(target, "theirs", "mask_iou") == masked
    assert runs.rows(target, "psol_theirs", "training")


def test_an_image_in_which_nothing_was_found_has_no_box(run_copy, finished_run, tmp_path):
    """Breaks when an image that a detector passed over is lost, stops the run, or becomes a label to train on."""
    kept = boxes_of(finished_run)[5:]
    target, _ = run(of_boxes(run_copy, save_csv(tmp_path / "boxes.csv", kept)))
    empty = [row for row in boxes_of(target, "theirs") if not row["boxes"]]
    assert {row["flag"] for row in empty} == {"no_box"}
    assert len(empty) == 5


def test_ids_of_no_image_are_told(run_copy, finished_run, tmp_path, caplog):
    """Breaks when boxes whose ids lack an extension, or are of another data set, are dropped without a word."""
    ours = boxes_of(finished_run)
    caplog.set_level("INFO", "weakbox.import")
    run(of_boxes(run_copy, save_csv(tmp_path / "boxes.csv", [*ours, {**ours[0], "image_id": "zebra.jpg"}])))
    said = f"{len(ours)} of {len(ours)} images have a box in {tmp_path / 'boxes.csv'}; 1 ids in it are of none of these"
    assert said in caplog.text
    other = [{**row, "image_id": row["image_id"].removesuffix(".jpg")} for row in ours]
    with pytest.raises(UsageError, match=r"0 of 60 images have a box in .* such as .*; an image is '.*\.jpg'"):
        run(imported(run_copy, theirs={"stage": "import", "boxes": str(save_csv(tmp_path / "other.csv", other))}))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("b.csv", "image_id,x0,y0,x1\na,1,2,3\n", "there is no column y1"),
        ("b.csv", "image_id,x0,y0,x1,y1\na,5,2,3,9\n", "a: box 5,2,3,9 has x1 < x0"),
        ("b.csv", "image_id,x0,y0,x1,y1\na,0.1,0.2,0.3,0.9\n", "corners are pixels of the image, not fractions"),
        ("b.parquet", "no table", "b.parquet"),
        ("b.json", "{}", "lists images and annotations, or a list of results"),
        ("b.json", "[[", "no JSON"),
        ("b.json", '[{"image_id": 7, "bbox": [1, 2, 3, 4]}]', "results[0]: image_id 7 names no image"),
        ("b.json", '[{"image_id": "a", "bbox": [1, 2, -3, 4]}]', "results[0]: bbox must be x, y, width and height"),
        ("b.json", '[{"image_id": "a", "bbox": [1, 2, 3, 4], "score": "high"}]', "score must be a number"),
        ("b.json", '{"images": [{"id": 1}], "annotations": []}', "images[0] has no id or no file_name"),
        ("b.json", '{"images": [], "annotations": [{"image_id": "a"}]}', "annotations[0]: there is no image 'a'"),
        ("b.json", '[{"image_id": "a", "bbox": [' + "9" * 400 + ", 2, 3, 4]}]", "results[0]: bbox must be"),
        (None, None, "there is nothing at"),
    ],
)  # fmt: skip
def test_a_bad_file_of_boxes_is_one_line_before_anything_runs(run_copy, tmp_path, name, text, said):
    """Breaks when a bad file is found out late, or does not say which record is bad."""
    place = tmp_path / (name or "nowhere.csv")
    if text is not None:
        place.write_text(text)
    target = runs.target_of(of_boxes(run_copy, place))
    with pytest.raises(UsageError) as refused:
        target.stages["theirs"].rehearse({})
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("record", "image", "said"),
    [
        ({"bbox": [500, 2, 30, 40]}, {}, "lies outside of the image"),
        ({"bbox": [1, 2, 30, 40]}, {"width": 640, "height": 480}, "its size there is 640 x 480"),
        ({"bbox": [1, 2, 30, 40], "segmentation": {"size": [64, 64], "counts": "55"}}, {}, "no COCO segmentation"),
        ({"bbox": [1, 2, 30, 40], "segmentation": {"size": [2, 5], "counts": "55"}}, {}, "its size is [2, 5]"),
        ({"bbox": [1, 2, 30, 40], "segmentation": [[0, 0, 1e8, 0, 1e8, 1e8]]}, {}, "near its image"),
        ({"bbox": [1, 2, 30, 40], "segmentation": [[0, 0, float("nan"), 5, 5, 5]]}, {}, "near its image"),
        ({"bbox": [1, 2, 30, 40], "segmentation": [[1, 2, 3, 4]]}, {}, "three corners"),
    ],
)
def test_boxes_of_other_images_are_refused(run_copy, finished_run, tmp_path, record, image, said):
    """Breaks when boxes of another size, or masks that do not fill their image, are taken."""
    image_id = boxes_of(finished_run)[0]["image_id"]
    images = [{"id": 1, "file_name": image_id, **image}]
    (tmp_path / "boxes.json").write_text(json.dumps({"images": images, "annotations": [{"image_id": 1, **record}]}))
    with pytest.raises(UsageError, match="stage theirs: ") as refused:
        run(of_boxes(run_copy, tmp_path / "boxes.json"))
    assert said in str(refused.value)
    assert image_id in str(refused.value)


def test_polygons_and_long_runs_are_masks(run_copy, finished_run, tmp_path):
    """Breaks when one of COCO's three forms of an outline is another mask than it draws."""
    first, second, third = (row["image_id"] for row in boxes_of(finished_run)[:3])
    square = np.zeros((64, 64), bool)
    square[8:24, 4:36] = True
    polygon = [[4, 8, 36, 8, 36, 24, 4, 24]]
    runs_of = np.diff(np.flatnonzero(np.diff(np.concatenate([[2], square.T.ravel(), [2]])))).tolist()
    outlines = {first: polygon, second: {"size": [64, 64], "counts": runs_of}, third: polygon}
    results = [{"image_id": i, "bbox": [4, 8, 32, 16], "segmentation": o} for i, o in outlines.items()]
    place = tmp_path / "boxes.json"
    place.write_text(json.dumps(results))
    target, _ = run(imported(run_copy, theirs={"stage": "import", "boxes": str(place)}))
    found = {row["image_id"]: row for row in boxes_of(target, "theirs")}
    for image_id in outlines:
        np.testing.assert_array_equal(decode(found[image_id]["masks"][0]), square)
        assert found[image_id]["area_fraction"] == pytest.approx(square.mean())


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, "give either maps"),
        ({"maps": "a", "boxes": "b"}, "give either maps"),
        ({"boxes": "b", "frame": "min_max"}, "frame applies to maps alone"),
        ({"maps": "a", "method": "centred_gaussian"}, "has a meaning of its own"),
        ({"maps": "a", "frame": "grid"}, "frame must be one of as_is, min_max"),
    ],
)
def test_bad_parameters_are_refused(run_copy, said, words):
    """Breaks when a config that cannot mean anything is taken."""
    with pytest.raises(UsageError, match=words):
        runs.target_of(imported(run_copy, theirs={"stage": "import", **said}))


def test_boxes_of_a_person_are_named_wherever_they_lead(run_copy, finished_run, tmp_path):
    """Breaks when a model that a person's boxes trained, or a consensus with them, passes for weakly supervised."""
    place = save_csv(tmp_path / "boxes.csv", boxes_of(finished_run))
    config = imported(
        of_boxes(run_copy, place),
        theirs={"stage": "import", "boxes": str(place), "method": "reviewed"},
        judged={"stage": "quality", "labels": ["boxes_ddt", "theirs"], "classes": "classes"},
        both={"stage": "consensus", "labels": ["boxes_ddt", "theirs"], "quality": "judged"},
        boxes_theirs={"stage": "localize", "model": "psol_theirs"},
    )
    evaluate = {**config["stages"]["evaluate"], "labels": ["boxes_cam", "boxes_ddt", "theirs", "both"]}
    evaluate["predictions"] = ["psol_boxes", "boxes_theirs"]
    target, _ = run(imported(config, evaluate=evaluate))
    rows = runs.rows(target, "evaluate", "metrics")
    drawn = {"theirs", "both", "boxes_theirs"}
    assert {row["source"] for row in rows} >= {*drawn, "boxes_cam", "psol_boxes", "cam", "classes", None}
    for row in rows:
        assert row["supervision"] == ("boxes" if row["source"] in drawn else None), row
