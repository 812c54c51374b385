import os
from dataclasses import replace

import pytest

from pipeline.base.errors import UsageError
from pipeline.store.files import Files
from stages.ingest.readers.folder import FolderParams, FolderReader
from stages.ingest.scan import Scan, candidates


def scan(params: FolderParams) -> Scan:
    return FolderReader(params).scan()


def make(root, *paths: str, boxes: str | None = None):
    """A data set of empty files: a scan opens no image."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    if boxes is not None:
        (root / "boxes.csv").write_text(boxes)
    return FolderParams(root=str(root))


def test_class_folders_alone_are_training_images(tmp_path):
    """Breaks when the simplest layout is not read, or an id is not the path below the root."""
    found = scan(make(tmp_path, "cat/a.jpg", "dog/deep/b.png"))
    assert [(i.image_id, i.label_name, i.split) for i in found.images] == [
        ("cat/a.jpg", "cat", "train"), ("dog/deep/b.png", "dog", "train"),
    ]  # fmt: skip
    assert found.classes == ["cat", "dog"]
    assert all(image.boxes is None and image.masks == () for image in found.images)


def test_split_folders_above_class_folders(tmp_path):
    """Breaks when train, val and test folders are taken for classes."""
    found = scan(make(tmp_path, "train/cat/a.jpg", "val/cat/b.jpg", "test/dog/c.jpg"))
    assert {(i.label_name, i.split) for i in found.images} == {("cat", "train"), ("cat", "val"), ("dog", "test")}
    assert found.classes == ["cat", "dog"]


def test_a_dev_folder_is_held_out_and_leaves_train_whole(tmp_path):
    """Breaks when a dev folder is refused, is trained on, or loses training images to a second dev beside it."""
    names = [f"train/cat/{number}.jpg" for number in range(50)]
    found = scan(make(tmp_path, *names, "dev/cat/a.jpg", "test/dog/c.jpg"))
    splits = [candidate.split for candidate in candidates(found, 0.5)]
    assert {split: splits.count(split) for split in splits} == {"train": 50, "dev": 1, "test": 1}
    without = scan(make(tmp_path / "other", *names))
    assert "dev" in {candidate.split for candidate in candidates(without, 0.5)}


def test_a_class_may_be_called_train(tmp_path):
    """Breaks when a vehicle class called train turns a folder of classes into splits."""
    found = scan(make(tmp_path, "train/a.jpg", "car/b.jpg"))
    assert found.classes == ["car", "train"]


def test_boxes_are_read_and_missing_ones_are_none_at_all(tmp_path):
    """Breaks when a data set with boxes tells an image without them from a data set without boxes no longer."""
    text = "image_id,x0,y0,x1,y1\ncat/a.jpg,1,2,3.5,4\ncat/a.jpg,0,0,2,2\n"
    found = scan(make(tmp_path, "cat/a.jpg", "cat/b.jpg", boxes=text))
    assert [list(image.boxes or ()) for image in found.images] == [[(1, 2, 3.5, 4), (0, 0, 2, 2)], []]


def test_spreadsheet_csv_is_read(tmp_path):
    """Breaks on the byte order mark, line ends and extra columns that spreadsheets write."""
    text = "\ufeffimage_id,x0,y0,x1,y1,note\r\ncat/a.jpg,1,2,3,4,hello\r\n"
    (image,) = scan(make(tmp_path, "cat/a.jpg", boxes=text)).images
    assert list(image.boxes or ()) == [(1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cat/a.jpg,1,2,x,4", "line 3: four numbers"),
        ("cat/a.jpg,1,2,3", "line 3: four numbers"),
        ("cat/a.jpg,3,2,3,4", "line 3: the box of 'cat/a.jpg' has no area"),
        ("cat/a.jpg,1,2,nan,4", "line 3: .* no area"),
        ("cat/a.jpg,1,2,inf,4", "line 3: .* no area"),
        ("cat/z.jpg,1,2,3,4", "line 3: there is no image 'cat/z.jpg'"),
    ],
)
def test_a_bad_line_of_the_csv_is_named(tmp_path, line, words):
    """Breaks when a bad box is taken, or its line number is not told."""
    params = make(tmp_path, "cat/a.jpg", boxes=f"image_id,x0,y0,x1,y1\ncat/a.jpg,1,2,3,4\n{line}\n")
    with pytest.raises(UsageError, match=words):
        scan(params)


def test_a_csv_without_header_is_refused(tmp_path):
    """Breaks when the first line of boxes is silently lost as a header."""
    with pytest.raises(UsageError, match="boxes.csv: the header must be image_id,x0,y0,x1,y1"):
        scan(make(tmp_path, "cat/a.jpg", boxes="cat/a.jpg,1,2,3,4\n"))


def test_masks_are_found_and_are_no_class(tmp_path):
    """Breaks when masks become images of a class called masks."""
    found = scan(make(tmp_path, "cat/a.jpg", "cat/b.jpg", "masks/cat/a.jpg.png"))
    assert found.classes == ["cat"]
    assert [[mask.uri for mask in image.masks] for image in found.images] == [["masks/cat/a.jpg.png"], []]


def test_hidden_files_and_folders_are_left_out(tmp_path):
    """Breaks when a .DS_Store or a .git folder becomes an image or a class."""
    found = scan(make(tmp_path, "cat/a.jpg", "cat/.DS_Store", ".cache/x/y.jpg", ".hidden"))
    assert [image.image_id for image in found.images] == ["cat/a.jpg"]


@pytest.mark.parametrize(
    ("paths", "empty", "words"),
    [
        (["cat/a.jpg"], "dog", "class folder 'dog' has no images"),
        (["cat/a.jpg", "dog/.hidden"], None, "class folder 'dog' has no images"),
        (["train/cat/a.jpg", "test/cat/b.jpg"], "train/dog", "class folder 'train/dog' has no images"),
        (["readme.txt"], None, "no class folders with images"),
    ],
)
def test_an_empty_class_is_refused(tmp_path, paths, empty, words):
    """Breaks when a class whose download failed silently drops out of the data set."""
    params = make(tmp_path, *paths)
    if empty:
        (tmp_path / empty).mkdir(parents=True)
    with pytest.raises(UsageError, match=words):
        scan(params)


def test_a_missing_root_is_one_line(tmp_path):
    """Breaks when a wrong path gives a traceback."""
    with pytest.raises(UsageError, match=f"dataset: root {tmp_path}/none: No such file"):
        scan(FolderParams(root=str(tmp_path / "none")))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="root"):
        scan(FolderParams(root=str(tmp_path / "file")))


def test_a_remote_folder_reads_the_same():
    """Breaks when a data set in a bucket has other ids, splits or boxes than on a disk."""
    files = Files("memory://folder-reader")
    for path in ("train/cat/a.jpg", "val/dog/b.jpg", "masks/val/dog/b.jpg.png", "train/cat/.hidden"):
        files.put(path, b"x")
    files.put("boxes.csv", b"image_id,x0,y0,x1,y1\nval/dog/b.jpg,1,2,3,4\n")
    found = scan(FolderParams(root="memory://folder-reader"))
    assert [(i.image_id, i.split, list(i.boxes or ())) for i in found.images] == [
        ("train/cat/a.jpg", "train", []), ("val/dog/b.jpg", "val", [(1, 2, 3, 4)]),
    ]  # fmt: skip
    assert [mask.uri for mask in found.images[1].masks] == ["masks/val/dog/b.jpg.png"]
    with pytest.raises(UsageError, match="no such folder"):
        scan(FolderParams(root="memory://nowhere-at-all"))


def test_a_changed_file_has_another_stamp(tmp_path):
    """Breaks when an image that was replaced in place keeps its old results."""
    params = make(tmp_path, "cat/a.jpg")
    before = scan(params).images[0].stamp
    os.utime(tmp_path / "cat/a.jpg", ns=(0, 1))
    assert scan(params).images[0].stamp != before


def test_pictures_in_no_folder_are_one_class_where_that_is_asked(tmp_path):
    """Breaks when loose pictures become a class unasked, are lost, or are taken beside folders with images."""
    params = make(tmp_path / "raccoons", "a.jpg", "b.png", "notes.txt")
    with pytest.raises(UsageError, match="no class folders with images"):
        scan(params)
    found = scan(replace(params, one_class=True))
    assert [(i.image_id, i.label_name, i.split) for i in found.images] == [
        ("a.jpg", "raccoons", "train"), ("b.png", "raccoons", "train"),
    ]  # fmt: skip
    assert found.classes == ["raccoons"]
    assert [line for line in found.left_out if ".txt" in line]
    folders = make(tmp_path / "folders", "a.jpg", "cat/b.jpg")
    assert scan(replace(folders, one_class=True)).classes == ["cat"]
