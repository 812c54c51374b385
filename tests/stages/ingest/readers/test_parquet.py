import json
import logging
import os
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.base.errors import UsageError
from pipeline.store.files import Files
from stages.ingest.readers.parquet import ParquetParams, ParquetReader
from stages.ingest.scan import candidates
from tests import runs
from tests.stages.ingest.readers.reading import labelled, picture, read, recognised


def images(*pictures, names=None):
    """A column of images as Hugging Face has it."""
    names = [f"{i}.jpg" for i in range(len(pictures))] if names is None else names
    return pa.array(
        [{"bytes": data, "path": name} for data, name in zip(pictures, names, strict=True)],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )


def write(path, features=None, rows=None, **columns):
    """A table; features: what `datasets` would write into its metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=rows)
    return path


def scan(root, **more):
    return ParquetReader(ParquetParams(root=str(root), **more)).scan()


def test_a_struct_of_bytes_and_path(tmp_path):
    """Breaks when the usual form is not read: by row, with the path as id, from several row groups."""
    data = [picture(i) for i in range(5)]
    write(tmp_path / "t.parquet", image=images(*data), label=["a", "b", "a", "b", "a"], rows=2)
    found = scan(tmp_path)
    assert labelled(found) == {f"{i}.jpg": ("ab"[i % 2], "train") for i in range(5)}
    assert [read(tmp_path, image) for image in found.images] == data
    assert [(image.uri, image.row) for image in found.images][3] == ("t.parquet#image.bytes", 3)
    assert ParquetReader(ParquetParams()).displayed
    assert labelled(scan(tmp_path / "t.parquet")) == labelled(found)
    assert [read(tmp_path / "t.parquet", image) for image in scan(tmp_path / "t.parquet").images] == data


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.dictionary(pa.int8(), pa.binary())])
def test_a_column_of_plain_bytes(tmp_path, kind):
    """Breaks when images without a struct are not found, or have no id that holds when rows are added."""
    data = [picture(i) for i in range(3)]
    write(tmp_path / "d" / "t.parquet", jpeg=pa.array(data[:2], kind), label=[7, 8])
    before = labelled(scan(tmp_path))
    assert before == {"d/t.parquet#0": ("7", "train"), "d/t.parquet#1": ("8", "train")}
    write(tmp_path / "d" / "t.parquet", jpeg=pa.array(data, kind), label=[7, 8, 7])
    found = scan(tmp_path)
    assert before.items() < labelled(found).items()
    assert [read(tmp_path, image) for image in found.images] == data


def test_an_id_is_the_path_where_no_other_row_has_it(tmp_path):
    """Breaks when one repeated path, or one that climbs, makes ids collide or changes those of all other rows."""
    names = ["a.jpg", "x/b.jpg", "a.jpg", None, "../c.jpg", "/d.jpg", "x//e.jpg", ""]
    write(tmp_path / "t.parquet", image=images(*[b"x"] * 8, names=names), label=["c"] * 8)
    assert [image.image_id for image in scan(tmp_path).images] == [
        "t.parquet#0", "x/b.jpg", "t.parquet#2", "t.parquet#3", "t.parquet#4", "t.parquet#5", "t.parquet#6",
        "t.parquet#7",
    ]  # fmt: skip


def test_classes_of_every_form(tmp_path):
    """Breaks when a class loses zeros, gets a point or a wrong name, or rows without a class are lost in silence."""
    image = images(b"x", b"y", b"z")
    features = {"image": {"_type": "Image"}, "fine": {"_type": "ClassLabel", "names": ["ant", "bee"]}}
    cases: dict[str, tuple[dict[str, Any], Any, dict[str, Any], list[str]]] = {
        "text": ({"label": ["001", " cafe\u0301 ", ""]}, None, {}, ["001", "caf\u00e9"]),
        "categories": ({"label": pa.array(["a", "b", None]).dictionary_encode()}, None, {}, ["a", "b"]),
        "integers": ({"class": [0, 10, None]}, None, {}, ["0", "10"]),
        "pandas": ({"label": [0.0, 10.0, float("nan")]}, None, {}, ["0", "10"]),
        "names": ({"label": [1, 0, -1]}, None, {"names": ("ant", "bee")}, ["bee", "ant"]),
        "features": ({"fine": [1, 0, -1], "label": ["x"] * 3}, features, {}, ["bee", "ant"]),
        "option": ({"fine": [1, 0, 1], "kind": ["x", "y", None]}, features, {"label": "kind"}, ["x", "y"]),
    }
    for name, (columns, said, options, expected) in cases.items():
        root = tmp_path / name
        write(root / "t.parquet", said, image=image, **columns)
        found = scan(root, **options)
        assert [one.label_name for one in found.images] == expected, name
        assert found.left_out == ["1 images without a class"], name


def test_splits_of_names_and_columns(tmp_path):
    """Breaks when validation is not val, a folder's name does not count, or a column does not win."""
    for name in ("train-00000-of-00002", "train-00001-of-00002", "validation-0", "x/test/0"):
        write(tmp_path / f"{name}.parquet", image=images(b"x", names=[f"{name}.jpg"]), label=["a"])
    assert sorted(image.split for image in scan(tmp_path).images) == ["test", "train", "train", "val"]
    write(tmp_path / "extra.parquet", image=images(b"x"), label=["a"])
    with pytest.raises(UsageError, match="extra.parquet: its name says no split, as that of train-00000"):
        scan(tmp_path)
    write(tmp_path / "extra.parquet", image=images(b"x", b"y"), label=["a", "a"], split=["Validation", "TEST"])
    assert sorted(image.split for image in scan(tmp_path).images) == ["test", "test", "train", "train", "val", "val"]


def test_boxes_and_objects(tmp_path):
    """Breaks when boxes of one form are read as the other, or images without boxes as a data set without any."""
    corners = [[[1.0, 2.0, 3.5, 4.0], [0.0, 0.0, 9.0, 9.0]], []]
    write(tmp_path / "lists" / "t.parquet", image=images(b"x", b"y"), label=["a", "b"], boxes=corners)
    structs = [[{"x0": 1.0, "y0": 2.0, "x1": 3.5, "y1": 4.0}], None]
    write(tmp_path / "structs" / "t.parquet", image=images(b"x", b"y"), label=["a", "b"], boxes=structs)
    objects = [
        {"bbox": [[1.0, 2.0, 3.0, 4.0]], "category": ["any"], "mask": [b"large"]},
        {"bbox": [], "category": [], "mask": []},
    ]
    write(tmp_path / "objects" / "t.parquet", image=images(b"x", b"y"), label=["a", "b"], objects=objects)
    assert [image.boxes for image in scan(tmp_path / "lists").images] == [[(1, 2, 3.5, 4), (0, 0, 9, 9)], []]
    assert [image.boxes for image in scan(tmp_path / "structs").images] == [[(1, 2, 3.5, 4)], []]
    assert [image.boxes for image in scan(tmp_path / "objects").images] == [[(1, 2, 4, 6)], []]


def test_objects_alone_say_the_class(tmp_path):
    """Breaks when images of several categories get one of them unasked, or boxes of other categories."""
    objects = [
        {"bbox": [[0, 0, 9, 9], [1, 1, 2, 2]], "category": [0, 0]},
        {"bbox": [[0, 0, 2, 2], [0, 0, 9, 9]], "category": [0, 1]},
        {"bbox": [], "category": []},
    ]  # fmt: skip
    features = {"objects": {"bbox": {}, "category": {"feature": {"names": ["ant", "bee"], "_type": "ClassLabel"}}}}
    write(tmp_path / "t.parquet", features, image=images(b"x", b"y", b"z"), objects=objects)
    found = scan(tmp_path)
    assert [(image.label_name, image.boxes) for image in found.images] == [("ant", [(0, 0, 9, 9), (1, 1, 3, 3)])]
    assert found.left_out == [
        "1 images without a class", "1 images with objects of several categories (multi_label)",
    ]  # fmt: skip
    found = scan(tmp_path, multi_label="largest")
    assert [(image.label_name, image.boxes) for image in found.images][1] == ("bee", [(0, 0, 9, 9)])
    ants = [{"bbox": box, "category": "ant"} for box in ([0, 0, 0, 9], [1, 1, 2, 2])]
    write(tmp_path / "t.parquet", image=images(b"x"), objects=[ants])
    with pytest.raises(UsageError, match=r"t.parquet: row 0: the box .* has no area \(empty_boxes: skip"):
        scan(tmp_path)
    assert [image.boxes for image in scan(tmp_path, empty_boxes="skip").images] == [[(1, 1, 3, 3)]]


def test_rows_without_bytes_name_files(tmp_path):
    """Breaks when a struct with a path alone is not read as a file, or an empty row is lost, or ends the run."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(picture(1))
    Files("memory://parquetfiles").put("b.jpg", picture(2))
    names = ["photos/a.jpg", "memory://parquetfiles/b.jpg", "none.jpg", None, "own.jpg"]
    column = images(None, None, None, None, picture(5), names=names)
    write(tmp_path / "t.parquet", image=column, label=list("abcde"), rows=3)
    found = {image.image_id: image for image in scan(tmp_path).images}
    assert {name: image.trouble for name, image in found.items()} == {
        "own.jpg": None, "t.parquet#3": "there is no image in this row", "photos/a.jpg": None,
        "memory://parquetfiles/b.jpg": None, "none.jpg": "there is no such file",
    }  # fmt: skip
    assert read(tmp_path, found["own.jpg"]) == picture(5)
    assert read(tmp_path, found["photos/a.jpg"]) == picture(1)
    assert read(tmp_path, found["memory://parquetfiles/b.jpg"]) == picture(2)


def test_a_remote_root_reads_the_same_and_no_image_is_fetched_to_list_them(tmp_path, monkeypatch):
    """Breaks when a table in a bucket is opened as a local file, or planning fetches the images."""
    data = [picture(i) + bytes(100_000) for i in range(20)]
    path = write(tmp_path / "train.parquet", image=images(*data), label=list(range(20)))
    Files("memory://parquetroot").put("train.parquet", path.read_bytes())
    fetched, memory = [], type(fsspec.filesystem("memory"))
    plain = memory.cat_file

    def counted(self, path, start=None, end=None, **more):
        fetched.append(end - start)
        return plain(self, path, start=start, end=end, **more)

    with monkeypatch.context() as patch:
        patch.setattr(memory, "cat_file", counted)
        found = scan("memory://parquetroot")
    assert labelled(found) == labelled(scan(tmp_path))
    assert sum(fetched) < 150_000
    assert [read("memory://parquetroot", image) for image in found.images] == data


def test_rows_are_listed_in_the_order_of_their_tables(tmp_path):
    """Breaks when a worker reads a shard's images by the order of their names, each from another row group."""
    for table in ("b", "a"):
        names = [f"{table}{number * 7 % 12}.jpg" for number in range(12)]
        write(tmp_path / f"{table}.parquet", image=images(*[b"x"] * 12, names=names), label=["c"] * 12)
    listed = [candidate.image for candidate in candidates(scan(tmp_path), 0.1)]
    assert [(image.uri[0], image.row) for image in listed] == [(table, row) for table in "ab" for row in range(12)]


def test_files_of_heavy_row_groups_are_warned_of(tmp_path, monkeypatch, caplog):
    """Breaks when a table whose images take seconds each in a training is taken without a word."""
    monkeypatch.setattr("stages.ingest.readers.parquet._HEAVY", 50_000)
    write(tmp_path / "t.parquet", image=images(*[bytes([i]) * 20_000 for i in range(4)]), label=["a"] * 4)
    with caplog.at_level(logging.WARNING, "weakbox.ingest"):
        scan(tmp_path)
    assert "t.parquet: its images are decoded by row groups of" in caplog.text


X, Y, A = images(b"x"), images(b"x", b"y"), ["a"]
NULL = pa.array([None], pa.string())
UNEVEN = {"bbox": [[1, 2, 3, 4]], "category": [0, 0]}
BAD: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no images": ({"label": A}, {}, "there is no column of images among label"),
    "two of images": ({"a": X, "b": X, "label": A}, {}, "columns a, b may hold images: set `image` to one"),
    "another of images": ({"image": X, "label": A}, {"image": "b"}, "there is no column 'b' among image, label"),
    "texts": ({"image": ["x"], "label": A}, {"image": "image"}, r"column 'image' \(string\) holds no images"),
    "no classes": ({"image": X, "kind": A}, {}, "no column of classes among image, kind: set `label`"),
    "another of classes": ({"image": X}, {"label": "b"}, "there is no column 'b' among image"),
    "a class that is true": ({"image": X, "label": [True]}, {}, "row 0: a class must be a text or an integer"),
    "a class and a half": ({"image": X, "label": [1.5]}, {}, "row 0: a class must be a text or an integer, not 1.5"),
    "a class without a name": ({"image": Y, "label": [0, 2]}, {"names": ("a", "b")}, "row 1: class 2, and there are"),
    "an unknown split": ({"image": X, "label": A, "split": ["extra"]}, {}, "row 0: 'extra' is no split"),
    "no split": ({"image": X, "label": A, "split": NULL}, {}, "row 0: a split must be a text"),
    "a box of three": ({"image": X, "label": A, "boxes": [[[1, 2, 3]]]}, {}, "row 0: a box of four numbers"),
    "boxes that are texts": ({"image": X, "label": A, "boxes": ["1,2,3,4"]}, {}, "row 0: boxes must be a list"),
    "more categories": ({"image": X, "objects": [UNEVEN]}, {}, "row 0: 1 boxes, and 2 categories"),
    "no row with a class": ({"image": X, "label": NULL}, {}, "no row of 1 tables has a class"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_table_is_named_in_one_line(tmp_path, case):
    """Breaks when a bad table is taken, or the line does not say which file and row."""
    columns, options, words = BAD[case]
    write(tmp_path / "t.parquet", **columns)
    with pytest.raises(UsageError, match=words) as refused:
        scan(tmp_path, **options)
    assert str(refused.value).startswith(("dataset: t.parquet: ", "dataset: root "))
    assert "\n" not in str(refused.value)


def test_files_that_are_no_tables(tmp_path):
    """Breaks when a damaged table, a pointer of git-lfs or a missing root is a raw error."""
    with pytest.raises(UsageError, match="No such file"):
        scan(tmp_path / "none")
    with pytest.raises(UsageError, match="there are no Parquet files"):
        scan(tmp_path)
    path = write(tmp_path / "t.parquet", image=X, label=["a"])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UsageError, match="dataset: t.parquet: no Parquet, or damaged: "):
        scan(tmp_path)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    with pytest.raises(UsageError, match="dataset: t.parquet: a pointer of git-lfs: `git lfs pull` fetches the file"):
        scan(tmp_path)


def test_recognition(tmp_path):
    """Breaks when a table of images is passed over, or any Parquet file is taken for one."""
    write(tmp_path / "a" / "data" / "t.parquet", image=X, label=["a"])
    assert recognised(ParquetReader, tmp_path / "a") == ("data/t.parquet with column image", "")
    assert recognised(ParquetReader, tmp_path / "a" / "data" / "t.parquet") == ("t.parquet with column image", "")
    write(tmp_path / "b" / "t.parquet", x=[1])
    assert recognised(ParquetReader, tmp_path / "b") is None
    features = {"image": {"_type": "Image"}}
    write(tmp_path / "c" / "t.parquet", features, image=X, label=["a"])
    assert recognised(ParquetReader, tmp_path / "c") is None
    assert recognised(ParquetReader, tmp_path / "c" / "t.parquet") == ("t.parquet with column image", "")
    assert recognised(ParquetReader, tmp_path / "none") is None


def test_a_run_over_tables(tmp_path):
    """Breaks when the catalog does not know the reader, a row is not opened, or one that is no picture ends the run."""
    data = [picture(i) for i in range(4)]
    root = tmp_path / "in"
    write(root / "train.parquet", image=images(*data, b"no picture"), label=list("abaab"))
    dataset = {"reader": "parquet", "root": str(root), "dev_fraction": 0.0}
    target = runs.target_of({"run_root": str(tmp_path / "run"), "dataset": dataset, "stages": {}})
    runs.execute(target)
    rows = {row["image_id"]: row for row in runs.rows(target, "ingest", "images")}
    assert {name: (row["uri"], row["row"], row["width"]) for name, row in rows.items()} == {
        f"{i}.jpg": ("dataset://ingest/train.parquet#image.bytes", i, 12) for i in range(4)
    }
    (bad,) = runs.rows(target, "ingest", "quarantine")
    assert (bad["image_id"], bad["reason"]) == ("4.jpg", "not an image")
    write(root / "train.parquet", image=images(*data, data[0]), label=list("abaab"))
    assert runs.execute(target) != {}
    assert len(runs.rows(target, "ingest", "images")) == 5


def test_a_table_that_is_damaged_later_is_seen_when_contents_are_compared(tmp_path):
    """Breaks when `rescan: content` ends in a raw error at a row that cannot be read, or does not see it."""
    data = [picture(i) for i in range(4)]
    options = {"compression": "none", "use_dictionary": False, "write_page_index": True}
    table = pa.table({"image": images(*data), "label": list("abab")})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2, **options)
    dataset = {"reader": "parquet", "root": str(tmp_path), "dev_fraction": 0.0}
    config = {"run_root": str(tmp_path.parent / f"{tmp_path.name}-run"), "stages": {}}
    runs.execute(runs.target_of({**config, "dataset": dataset}))
    status = (tmp_path / "t.parquet").stat()
    whole = bytearray((tmp_path / "t.parquet").read_bytes())
    whole[4] ^= 0xFF  # the header of the first page
    (tmp_path / "t.parquet").write_bytes(whole)
    os.utime(tmp_path / "t.parquet", ns=(status.st_atime_ns, status.st_mtime_ns))
    target = runs.target_of({**config, "dataset": {**dataset, "rescan": "content"}})
    runs.execute(target)
    assert [row["image_id"] for row in runs.rows(target, "ingest", "images")] == ["2.jpg", "3.jpg"]
    assert {row["image_id"] for row in runs.rows(target, "ingest", "quarantine")} == {"0.jpg", "1.jpg"}
