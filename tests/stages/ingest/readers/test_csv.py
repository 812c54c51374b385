import os
import time

import fsspec
import pytest

from pipeline.base.errors import UsageError
from pipeline.store.files import Files
from stages.ingest.readers.csv import CsvParams, CsvReader
from tests import runs
from tests.stages.ingest.readers.reading import labelled, picture, read, recognised

TABLE = "path,label,split\ncat/a.jpg,cat,train\ndog/b.jpg,dog,val\n"


def make(root, table=TABLE, images=("cat/a.jpg", "dog/b.jpg"), name="images.csv"):
    """A table and images below a root."""
    for number, path in enumerate(images):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(picture(number))
    root.mkdir(exist_ok=True)
    (root / name).write_bytes(table.encode() if isinstance(table, str) else table)
    return root


def scan(root, **more):
    return CsvReader(CsvParams(root=str(root), **more)).scan()


def test_a_table_says_class_and_split(tmp_path):
    """Breaks when the simplest table is not read, or an id is not the path below the root."""
    found = scan(make(tmp_path))
    assert labelled(found) == {"cat/a.jpg": ("cat", "train"), "dog/b.jpg": ("dog", "val")}
    assert [read(tmp_path, image) for image in found.images] == [picture(0), picture(1)]
    assert all(image.boxes is None for image in found.images)
    assert CsvReader(CsvParams()).displayed


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("path", "label"),
    [("path", "label"), ("URI", "Class"), ("file_name", "label"), ("filename", "class"), ("image", " Label ")],
)
def test_spreadsheets_in_their_ways(tmp_path, delimiter, path, label):
    """Breaks on the delimiters, byte order mark, line ends, quotes, case and other columns of spreadsheets."""
    lines = [
        [path, "note", label],
        ['"cat/a.jpg"', '"a ""note"", with\r\ntwo lines"', "001"],
        ["dog/b.jpg", "", " dog "],
    ]
    text = "\ufeff" + "\r\n".join(delimiter.join(line) for line in lines) + "\r\n\r\n"
    assert labelled(scan(make(tmp_path, text))) == {"cat/a.jpg": ("001", "train"), "dog/b.jpg": ("dog", "train")}


def test_several_lines_of_an_image_are_several_boxes(tmp_path):
    """Breaks when boxes are lost or taken for images, or an image without a box for one of a table without boxes."""
    table = (
        "path,label,x0,y0,x1,y1\ncat/a.jpg,cat,1,2,3.5,4\ndog/b.jpg,dog,,,,\ncat/a.jpg,cat, 0,0,2,2\n"
        "./cat//a.jpg,cat,5,5,6,6\n"
    )
    found = scan(make(tmp_path, table))
    assert {image.image_id: image.boxes for image in found.images} == {
        "cat/a.jpg": [(1, 2, 3.5, 4), (0, 0, 2, 2), (5, 5, 6, 6)], "dog/b.jpg": [],
    }  # fmt: skip


def test_paths_of_all_kinds(tmp_path):
    """Breaks when absolute paths, URIs or Windows' backslashes are not found, or data that moves gets new ids."""
    root, outside = tmp_path / "in", tmp_path / "out"
    make(outside, images=("c.jpg",))
    Files("memory://csv").put("d.jpg", picture(3))
    table = (
        f"path,label\ncat\\a.jpg,1\n{root}/dog/b.jpg,2\n{outside}/c.jpg,3\nmemory://csv/d.jpg,4\n"
        f"file://{outside}/../out/images.csv,5\n"
    )
    found = scan(make(root, table))
    assert {image.image_id: image.label_name for image in found.images} == {
        "cat/a.jpg": "1", "dog/b.jpg": "2", f"{outside}/c.jpg": "3", "memory://csv/d.jpg": "4",
        f"{outside}/images.csv": "5",
    }  # fmt: skip
    assert [read(root, image) for image in found.images[:2]] == [picture(0), picture(1)]
    by_id = {image.image_id: image for image in found.images}
    assert read(root, by_id[f"{outside}/c.jpg"]) == picture(0)
    assert read(root, by_id["memory://csv/d.jpg"]) == picture(3)


def test_stamps_of_files_elsewhere_change_with_them(tmp_path):
    """Breaks when an image outside of the root is replaced and nobody reads it again."""
    outside = tmp_path / "c.jpg"
    table = f"path,label\n{outside},1\nmemory://csv/e.jpg,2\n"
    stamps = set()
    for number in range(2):
        outside.write_bytes(picture(number))
        os.utime(outside, ns=(number, number))
        Files("memory://csv").put("e.jpg", b"x" * (number + 1))
        stamps.add(tuple(image.stamp for image in scan(make(tmp_path / "in", table, ())).images))
    (first, second) = stamps
    assert first[0] != second[0]
    assert first[1] != second[1]


def test_what_is_not_there_is_a_row_with_its_reason(tmp_path):
    """Breaks when one missing file ends the run: below the root, elsewhere, in a bucket, a folder, one not readable."""
    (tmp_path / "in" / "folder").mkdir(parents=True)
    os.mkfifo(tmp_path / "pipe")
    names = ["none.jpg", f"{tmp_path}/none.jpg", "memory://csv/none.jpg", str(tmp_path), f"{tmp_path}/pipe",
             f"{tmp_path}/pipe/x.jpg", "/" + "x" * 300]  # fmt: skip
    found = scan(make(tmp_path / "in", "path,label\ncat/a.jpg,1\n" + "".join(f"{name},1\n" for name in names)))
    assert {image.image_id: image.trouble for image in found.images} == {
        "cat/a.jpg": None,
        "none.jpg": "there is no such file",
        f"{tmp_path}/none.jpg": "there is no such file",
        "memory://csv/none.jpg": "there is no such file",
        str(tmp_path): "no ordinary file",
        f"{tmp_path}/pipe": "no ordinary file",
        f"{tmp_path}/pipe/x.jpg": "there is no such file",
        "/" + "x" * 300: "cannot be read: File name too long",
    }


def test_files_in_a_bucket_are_asked_for_side_by_side(tmp_path, monkeypatch):
    """Breaks when a hundred thousand URIs are asked for one after another."""
    memory = type(fsspec.filesystem("memory"))
    plain = memory.info

    def slow(self, path, **more):
        time.sleep(0.02)
        return plain(self, path, **more)

    monkeypatch.setattr(memory, "info", slow)
    Files("memory://csv").put("f.jpg", b"x")
    table = "path,label\n" + "".join(f"memory://csv/{i}.jpg,1\n" for i in range(64))
    start = time.monotonic()
    assert len(scan(make(tmp_path, table, ())).images) == 64
    assert time.monotonic() - start < 0.64


def test_names_in_another_unicode_form(tmp_path):
    """Breaks when a table from one system names a file of another: the id is the name of the file."""
    found = scan(make(tmp_path, "path,label\ncafe\u0301.jpg,cafe\u0301\n", ("caf\u00e9.jpg",)))
    assert labelled(found) == {"caf\u00e9.jpg": ("caf\u00e9", "train")}
    assert found.images[0].trouble is None


def test_images_that_no_line_names_are_left_out_and_said(tmp_path):
    """Breaks when images are lost in silence."""
    make(tmp_path, images=("cat/a.jpg", "dog/b.jpg", "dog/c.jpg"))
    (tmp_path / "notes.txt").write_text("x")
    assert scan(tmp_path).left_out == [
        "1 files that images.csv does not name", "1 files that are no images (1 .txt)",
    ]  # fmt: skip


@pytest.mark.parametrize("where", ["below", "absolute", "uri"])
def test_the_table_may_lie_anywhere(tmp_path, where):
    """Breaks when option `file` is not found in one of its forms."""
    make(tmp_path / "in")
    names = {"below": "t.csv", "absolute": str(tmp_path / "t.csv"), "uri": "memory://csv/t.csv"}
    if where == "uri":
        Files("memory://csv").put("t.csv", TABLE.encode())
    else:
        ((tmp_path / "in") / names[where]).write_text(TABLE)
    assert len(scan(tmp_path / "in", file=names[where]).images) == 2


def test_a_remote_root_reads_the_same(tmp_path):
    """Breaks when a table in a bucket is opened as a local file, or its URIs below the root get other ids."""
    files = Files("memory://csvroot")
    files.put("images.csv", b"path,label\ncat/a.jpg,1\nmemory://csvroot/dog/b.jpg,2\n")
    for number, name in enumerate(("cat/a.jpg", "dog/b.jpg")):
        files.put(name, picture(number))
    found = scan("memory://csvroot")
    assert labelled(found) == {"cat/a.jpg": ("1", "train"), "dog/b.jpg": ("2", "train")}
    assert [read("memory://csvroot", image) for image in found.images] == [picture(0), picture(1)]


BAD = {
    "climbs": ("path,label\n../x.jpg,1\n", r"line 2: '../x.jpg' climbs out of the root"),
    "climbs from below": ("path,label\ncat/../../x.jpg,1\n", "line 2: .* climbs out of the root"),
    "climbs by backslashes": ("path,label\n..\\x.jpg,1\n", "line 2: .* climbs out of the root"),
    "no path": ("path,label\n ,1\n", "line 2: .* is no name of a file"),
    "a control character": ("path,label\na\x07.jpg,1\n", "line 2: .* is no name of a file"),
    "a chained URI": ("path,label\nsimplecache::s3://b/x,1\n", "line 2: a URI inside another"),
    "a password": ("path,label\ns3://me:secret@b/x,1\n", "line 2: .* password"),
    "an unknown storage": ("path,label\nnone://b/x,1\n", "none://b/x: "),
    "no class": ("path,label\ncat/a.jpg,\n", "line 2: 'cat/a.jpg' has no class"),
    "an unknown split": ("path,label,split\ncat/a.jpg,1,extra\n", "line 2: 'extra' is no split"),
    "an empty split": ("path,label,split\ncat/a.jpg,1,\n", "line 2: '' is no split"),
    "too few values": ("path,label\ncat/a.jpg\n", "line 2: 2 values were expected, found 1"),
    "too many values": ("path,label\ncat/a.jpg,1,2\n", "line 2: 2 values were expected, found 3"),
    "two classes": ("path,label\ncat/a.jpg,1\ncat/a.jpg,2\n", "line 3: 'cat/a.jpg' is 2, train here and 1, train"),
    "twice": ("path,label\ncat/a.jpg,1\ncat/a.jpg,1\n", "line 3: 'cat/a.jpg' is there twice"),
    "no number": ("path,label,x0,y0,x1,y1\ncat/a.jpg,1,1,2,x,4\n", "line 2: four numbers"),
    "half a box": ("path,label,x0,y0,x1,y1\ncat/a.jpg,1,1,2,,\n", "line 2: four numbers"),
    "fractions": ("path,label,x0,y0,x1,y1\ncat/a.jpg,1,0,0,0.5,1\n", "line 2: .* no fractions"),
    "three corners": ("path,label,x0,y0,x1\n", "boxes need x0, y0, x1 and y1"),
    "no header": ("cat/a.jpg,cat\n", r"its first line must have columns path \(uri.*\) and label"),
    "a column twice": ("path,label,label\n", "column label twice"),
    "no lines": ("path,label\n", "there are no images in it"),
    "nothing": ("", "its first line must have"),
    "Latin-1": ("path,label\ncat/a.jpg,café\n".encode("latin-1"), "no UTF-8 text"),
    "UTF-16": (TABLE.encode("utf-16"), "no UTF-8 text"),
    "a field without end": ('path,label\n"' + "x" * 200_000 + "\n", "line 2: field larger than"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_line_is_named(tmp_path, case):
    """Breaks when a bad table is taken, or its line is not told."""
    table, words = BAD[case]
    with pytest.raises(UsageError, match=words) as refused:
        scan(make(tmp_path, table))
    assert str(refused.value).startswith("dataset: ")
    assert "\n" not in str(refused.value)


def test_roots_and_tables_that_are_not_there(tmp_path):
    """Breaks when a wrong place is no line that says which."""
    with pytest.raises(UsageError, match="none: No such file"):
        scan(tmp_path / "none")
    with pytest.raises(UsageError, match="there is no table 'images.csv' below the root"):
        scan(tmp_path)
    with pytest.raises(UsageError, match="dataset: /none.csv: there is no such file"):
        scan(tmp_path, file="/none.csv")
    with pytest.raises(UsageError, match="a folder was expected, of which `file` names a table"):
        scan(make(tmp_path) / "images.csv")


def test_recognition(tmp_path):
    """Breaks when images.csv is passed over, or any CSV beside class folders counts."""
    assert recognised(CsvReader, make(tmp_path / "a")) == ("images.csv", "")
    assert recognised(CsvReader, make(tmp_path / "b", "uri;Label\n")) == ("images.csv", "")
    assert recognised(CsvReader, make(tmp_path / "c", "path,species\n")) == (
        "images.csv",
        "a column label in images.csv",
    )
    assert recognised(CsvReader, make(tmp_path / "d", "id,url,species\n")) is None
    assert recognised(CsvReader, make(tmp_path / "e", name="boxes.csv")) is None
    assert recognised(CsvReader, tmp_path / "none") is None


def test_a_run_over_a_table(tmp_path):
    """Breaks when the catalog does not know the reader, a missing file is lost, or an image elsewhere is not opened."""
    outside = make(tmp_path / "out", images=("c.jpg",)) / "c.jpg"
    table = f"path,label,split,x0,y0,x1,y1\ncat/a.jpg,cat,train,1,2,3,4\n{outside},dog,val,,,,\nnone.jpg,dog,val,,,,\n"
    dataset = {"reader": "csv", "root": str(make(tmp_path / "in", table)), "dev_fraction": 0.0}
    target = runs.target_of({"run_root": str(tmp_path / "run"), "dataset": dataset, "stages": {}})
    runs.execute(target)
    rows = {row["image_id"]: row for row in runs.rows(target, "ingest", "images")}
    assert {name: (row["uri"], row["width"]) for name, row in rows.items()} == {
        "cat/a.jpg": ("dataset://ingest/cat/a.jpg", 12), str(outside): (str(outside), 12),
    }  # fmt: skip
    (bad,) = runs.rows(target, "ingest", "quarantine")
    assert (bad["image_id"], bad["reason"]) == ("none.jpg", "there is no such file")
