"""The folder of an export: killed and finished, refused, replaced; and nothing outside of it is touched."""

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.exporting import Exporting, Source
from pipeline.base.errors import UsageError
from pipeline.store.files import Files
from pipeline.store.records import ShardResult
from pipeline.store.store import Store
from schemas import TABLES
from stages.bases.export_choice import ExportChoice
from stages.formats.capabilities import FORMATS
from tests import runs

OPTIONS: dict[str, list[str]] = {
    "coco": ["--images", "copy"],
    "yolo": ["--images", "link", "--outlines", "polygon"],
    "voc": [],
    "webdataset": ["--images", "embed"],
    "huggingface": ["--images", "embed"],
    "parquet": ["--images", "embed"],
    "labelstudio": ["--outlines", "polygon"],
}


def content(folder: Path) -> dict[str, bytes | str]:
    """Every file below a folder; of a link, where it leads."""
    return {
        path.relative_to(folder).as_posix(): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() or path.is_symlink()
    }


class Killed(BaseException):
    """What no program catches."""


def test_every_format_is_tried():
    """Breaks when a format comes without these tests."""
    assert OPTIONS.keys() == FORMATS.keys()


@pytest.mark.parametrize("form", OPTIONS)
def test_killed_anywhere_and_finished_it_is_the_same(export, tmp_path, monkeypatch, form):
    """Breaks when a kill leaves half a file, a box twice, or a number that depends on where the kill was."""
    whole = content(export(form, *OPTIONS[form], out=tmp_path / "whole"))
    assert all(not name.startswith(".weakbox-export/pieces") for name in whole)
    original = {name: getattr(Files, name) for name in ("put", "put_file", "link")}
    writes = [0]

    def counting(name: str, count: int) -> Any:
        def write(*arguments: Any, **options: Any) -> Any:
            writes[0] += 1
            if writes[0] == count:
                raise Killed
            return original[name](*arguments, **options)

        return write

    for number, count in enumerate((1, 2, 4, 9, 15, 22, 30)):
        place, writes[0] = tmp_path / f"{form}{number}", 0
        for name in original:
            monkeypatch.setattr(Files, name, counting(name, count))
        with contextlib.suppress(Killed):
            export(form, *OPTIONS[form], out=place)
        for name, function in original.items():
            monkeypatch.setattr(Files, name, function)
        assert content(export(form, *OPTIONS[form], out=place)) == whole, count


def test_a_finished_export_is_left_alone(export, tmp_path):
    """Breaks when the same command writes a second time what is there."""
    out = export("yolo", out=tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    export("yolo", out=out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_another_export_is_refused_and_overwrite_replaces_its_files_alone(export, tmp_path):
    """Breaks when two exports mix, or a file that the user put there is lost (case 25)."""
    out = export("yolo", "--images", "copy", out=tmp_path / "out")
    (out / "labels" / "train" / "mine.txt").write_text("mine")
    (out / "notes.md").write_text("mine")
    with pytest.raises(UsageError, match=r"holds another export \(pseudo labels of stage theirs.*--overwrite"):
        export("coco", out=out)
    export("coco", "--overwrite", out=out)
    left = {name for name in content(out) if not name.startswith(".weakbox-export")}
    assert left == {"labels/train/mine.txt", "notes.md", *(f"coco_{s}.json" for s in ("train", "dev", "test"))} & left
    assert {"labels/train/mine.txt", "notes.md", "coco_train.json"} <= left
    assert not any(name.endswith((".jpg", ".png", ".yaml")) for name in left)


def test_a_folder_with_other_files_is_refused(export, tmp_path):
    """Breaks when an old coco_val.json stays beside a new coco_train.json (case 25)."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "coco_val.json").write_text("{}")
    for more in ([], ["--overwrite"]):
        with pytest.raises(UsageError, match=r"holds files of no export, such as coco_val.json: use an empty folder"):
            export("coco", *more, out=tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["coco_val.json"]


def test_a_list_that_lies_removes_nothing_outside(export, tmp_path):
    """Breaks when --overwrite believes a name that climbs out of the folder."""
    (tmp_path / "kept.txt").write_text("kept")
    out = export("yolo", out=tmp_path / "out")
    said = json.loads((out / ".weakbox-export.json").read_text())
    (out / ".weakbox-export.json").write_text(json.dumps({**said, "files": ["../kept.txt"]}))
    with pytest.raises(UsageError, match="--out .*: path leaves"):
        export("coco", "--overwrite", out=out)
    assert (tmp_path / "kept.txt").read_text() == "kept"


def test_links_in_the_folder_are_not_followed(export, tmp_path):
    """Breaks when a folder in --out that is a link takes the files elsewhere."""
    out, canary = export("yolo", out=tmp_path / "out"), tmp_path / "canary"
    canary.mkdir()
    shutil.rmtree(out / "labels")
    for done in (out / ".weakbox-export").glob("*.json"):
        done.unlink()
    said = json.loads((out / ".weakbox-export.json").read_text())
    (out / ".weakbox-export.json").write_text(json.dumps({**said, "complete": False}))
    (out / "labels").symlink_to(canary)
    with pytest.raises(UsageError, match="links are not followed there"):
        export("yolo", out=out)
    assert list(canary.iterdir()) == []


def test_a_remote_folder_holds_the_same(export, tmp_path):
    """Breaks when a join, or a copy, needs this machine's disk."""
    here = content(export("coco", "--images", "copy", out=tmp_path / "here"))
    export("coco", "--images", "copy", out="memory://exports/there")
    there = Files("memory://exports/there")
    names = [file.path for file in there.listing("")]
    assert {name: there.get(name) for name in names} == here


@pytest.mark.parametrize("image_id", ["../../canary/x.jpg", "/etc/passwd", "a\nb.jpg", "..", "a\\..\\b"])
@pytest.mark.parametrize("form", ["yolo", "voc", "coco"])
def test_ids_of_someone_else_stay_in_the_folder(tmp_path, form, image_id):
    """Breaks when an image id, which anybody can write into a run root, becomes a path."""
    store, canary = Store(str(tmp_path / "run")), tmp_path / "canary"
    canary.mkdir()
    shared = {"image_id": image_id, "label": 0, "split": "train"}
    image = {**shared, "uri": "u", "width": 9, "height": 9, "label_name": "c", "content_hash": ""}
    box = {"x0": 1.0, "y0": 1.0, "x1": 5.0, "y1": 5.0, "score": 1.0}
    size = {"image_height": 9, "image_width": 9, "components": 1}
    label = {**shared, **size, "method": "m", "source": "s", "boxes": [box]}
    tables = {
        "images": TABLES["images"].from_rows([image]),
        "pseudo_labels": TABLES["pseudo_labels"].from_rows([label]),
    }
    images, labels = (store.commit(name, "0" * 16, "k", ShardResult({name: table})) for name, table in tables.items())
    source = Source(store, "pseudo_labels", "pseudo_labels", [labels], [images], {})
    try:
        params = ExportChoice(format=form)
        Exporting(source, params, str(tmp_path / "a" / "out"), overwrite=False).write()
    except UsageError as error:
        assert "\n" not in str(error)
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and not {"run", "out"} & set(path.parts)]
    assert outside == []


def boxes_in(out: Path) -> dict[str, int]:
    """Split -> number of boxes of a COCO export."""
    return {
        path.stem.removeprefix("coco_"): len(json.loads(path.read_text())["annotations"])
        for path in out.glob("coco_*.json")
    }


def test_what_is_left_out_is_what_was_asked_for(export, want, tmp_path):
    """Breaks when a filter leaves out another box, or dev stays apart from train (faults.md C2)."""
    of = {split: [own for own in want.values() if own["split"] == split] for split in ("train", "dev", "test")}
    number = {split: sum(len(own["boxes"]) for own in owned) for split, owned in of.items()}
    made = [
        ([], number),
        (["--boxes", "best"], {split: len(owned) for split, owned in of.items()}),
        (["--max-boxes", "2"], {s: sum(min(2, len(o["boxes"])) for o in owned) for s, owned in of.items()}),
        (
            ["--min-score", "0.6"],
            {s: sum((np.array(o["scores"]) >= 0.6).sum() for o in owned) for s, owned in of.items()},
        ),
        (
            ["--classes", "puppy"],
            {s: sum(len(o["boxes"]) for o in owned if o["class"] == "puppy") for s, owned in of.items()},
        ),
        (["--splits", "train"], {"train": number["train"]}),
        (["--merge", "dev"], {"train": number["train"] + number["dev"], "test": number["test"]}),
    ]
    for place, (options, expected) in enumerate(made):
        found = boxes_in(export("coco", *options, out=tmp_path / str(place)))
        assert {s: n for s, n in found.items() if n} == {s: n for s, n in expected.items() if n}, options


def test_fallbacks_are_counted_and_exported_when_asked(export, odd, tmp_path):
    """Breaks when an image whose only box is a fallback, or that has none, is an example of nothing."""
    info = [json.loads(path.read_text())["info"] for path in export("coco").glob("coco_*.json")]
    images = {row["image_id"]: row for row in runs.rows(odd, "ingest", "images")}
    assert sum(each["images_without_annotation_left_out"] for each in info) == 1
    assert sum(sum(each["flagged_labels_left_out"].values()) for each in info) == 1
    assert {each["stage"] for each in info} == {"theirs"}
    assert len(images) == 10


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["coco", "--images", "embed"], "coco has pictures: reference or copy or link, not embed"),
        (["yolo", "--outlines", "rle"], "yolo has outlines: none or polygon, not rle"),
        (["coco", "--classes", "zebra"], "there is no class 'zebra'"),
        (["coco", "--min-score", "2"], "has no box to export"),
        (["coco", "--labels", "ingest"], r"stage 'ingest' \(ingest.folder\) gives no pseudo_labels"),
    ],
)
def test_what_cannot_be_exported_is_one_line(export, options, said):
    """Breaks when an export of nothing is an export, or a format is told what it cannot hold."""
    with pytest.raises(UsageError, match=said):
        export(*options)


def test_an_overwrite_that_was_killed_goes_on(export, tmp_path, monkeypatch):
    """Breaks when --overwrite begins anew each time, or leaves what the export before it, or the kill, left."""
    fresh = content(export("yolo", out=tmp_path / "fresh"))
    out, writes, put = export("coco", "--images", "copy", out=tmp_path / "out"), [0], Files.put

    def dying(*arguments: Any, **options: Any) -> None:
        writes[0] += 1
        if writes[0] == 9:
            raise Killed
        put(*arguments, **options)

    (out / "train" / ".staged-0").write_bytes(b"half")
    monkeypatch.setattr(Files, "put", dying)
    with pytest.raises(Killed):
        export("yolo", "--overwrite", out=out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("0*.json")}
    assert before
    monkeypatch.setattr(Files, "put", put)
    export("yolo", "--overwrite", out=out)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    (out / "train" / ".staged-0").unlink(missing_ok=True)
    assert content(out) == fresh


def test_a_file_of_the_user_is_never_written_over(export, tmp_path):
    """Breaks when a name that both have is taken for ours."""
    out = export("coco", out=tmp_path / "out")
    (out / "data.yaml").write_text("mine")
    with pytest.raises(UsageError, match=r"data\.yaml is there and of no export: it would be lost"):
        export("yolo", "--overwrite", out=out)
    assert (out / "data.yaml").read_text() == "mine"


def of_rows(folder: Path, rows: list[dict[str, Any]], shards: int = 1, **choice: Any) -> Exporting:
    """An export of made rows: one image of class c, its rows in so many shards."""
    store = Store(str(folder / "run"))
    shared = {"image_id": "a.jpg", "label": 0, "split": "train"}
    image = {**shared, "uri": "u", "width": 9, "height": 9, "label_name": "c", "content_hash": ""}
    images = store.commit("ingest", "0" * 16, "k", ShardResult({"images": TABLES["images"].from_rows([image])}))
    size = {"image_height": 9, "image_width": 9, "source": "s", "components": 1}
    made = [
        TABLES["pseudo_labels"].from_rows([{**shared, **size, **row} for row in rows[n::shards]]) for n in range(shards)
    ]
    labels = [
        store.commit("boxes", "0" * 16, str(n), ShardResult({"pseudo_labels": table})) for n, table in enumerate(made)
    ]
    source = Source(store, "boxes", "pseudo_labels", labels, [images], {})
    return Exporting(source, ExportChoice(**choice), str(folder / "out"), overwrite=False)


def scored(*scores: float, **more: Any) -> dict[str, Any]:
    return {"boxes": [{"x0": 1.0, "y0": 1.0, "x1": 5.0, "y1": 5.0, "score": score} for score in scores], **more}


def test_the_best_boxes_of_an_image_are_those_of_all_its_rows(tmp_path):
    """Breaks when each method's best box is kept, or the image is listed once for each."""
    rows = [scored(0.2, method="a"), scored(0.9, 0.1, method="b")]
    for most, expected in ((1, [0.9]), (2, [0.9, 0.2]), (3, [0.9, 0.1, 0.2])):
        of_rows(tmp_path / str(most), rows, max_boxes=most).write()
        said = json.loads((tmp_path / str(most) / "out" / "coco_train.json").read_text())
        assert [np.float32(each["score"]) for each in said["annotations"]] == [np.float32(score) for score in expected]
        assert len(said["images"]) == 1


def test_a_score_is_compared_as_it_is_stored(tmp_path):
    """Breaks when 0.9, stored in 32 bits, is below 0.9."""
    of_rows(tmp_path, [scored(0.9, method="a")], min_score=0.9).write()
    assert boxes_in(tmp_path / "out") == {"train": 1}


def test_boxes_of_low_or_unknown_quality_are_left_out_where_asked(tmp_path):
    """Breaks when min_quality keeps what nothing is known of, compares in 64 bits, or filters where it is not given."""
    rows = [scored(0.5, method=name, quality=quality) for name, quality in (("a", 0.7), ("b", 0.69), ("c", None))]
    for least, kept in ((0.7, 1), (0.0, 2), (None, 3)):
        of_rows(tmp_path / str(least), rows, min_quality=least).write()
        assert boxes_in(tmp_path / str(least) / "out") == {"train": kept}, least


def test_an_image_in_two_shards_is_refused(tmp_path):
    """Breaks when the second label file of an image takes the place of the first."""
    with pytest.raises(UsageError, match=r"stage boxes: 'a\.jpg' is in two of its shards"):
        of_rows(tmp_path, [scored(0.9, method="a"), scored(0.8, method="b")], shards=2, format="yolo").write()


def test_a_class_without_an_image_is_counted(tmp_path):
    """Breaks when one predicted class that the data set lacks ends an export."""
    of_rows(tmp_path, [scored(0.9, method="a"), scored(0.8, method="b", label=7)]).write()
    said = json.loads((tmp_path / "out" / "coco_train.json").read_text())
    assert said["info"]["flagged_labels_left_out"] == {"class_without_image": 1}
    assert len(said["annotations"]) == 1


def test_what_was_imported_is_exported_once_its_file_is_gone(odd, export, tmp_path):
    """Breaks when a finished run cannot be taken away, because a file that it has read was touched, or is gone."""
    before = content(export("coco", out=tmp_path / "before"))
    place = Path(odd.config.run_root).parent / "boxes.json"
    place.rename(tmp_path / "away")
    try:
        assert content(export("coco", out=tmp_path / "after")) == before
    finally:
        (tmp_path / "away").rename(place)


def test_predictions_without_boxes_are_refused(finished_run, tmp_path):
    """Breaks when classes alone become files without a box (faults.md C2)."""
    dones, images = runs.dones(finished_run, "classes"), runs.dones(finished_run, "ingest")
    source = Source(finished_run.store, "classes", "predictions", dones, images, {})
    with pytest.raises(UsageError, match="stage classes predicts classes, no boxes"):
        Exporting(source, ExportChoice(), str(tmp_path / "out"), overwrite=False)
    assert not (tmp_path / "out").exists()
