import os
import tarfile

import pytest

from pipeline.base.errors import UsageError
from pipeline.store.files import Files
from stages.ingest import archives
from stages.ingest.readers.tiny_imagenet import TinyImagenetParams, TinyImagenetReader
from stages.ingest.scan import Scan


def scan(params: TinyImagenetParams) -> Scan:
    """What a run lists: it lets the reader make an absent data set first."""
    reader = TinyImagenetReader(params)
    if reader.is_absent():
        reader.provide()
    return reader.scan()


def make(root):
    """A replica of the public layout: two classes, three training images, two validation images."""
    for path, text in {
        "train/n01/images/n01_0.JPEG": "x",
        "train/n01/images/n01_1.JPEG": "x",
        "train/n01/n01_boxes.txt": "n01_0.JPEG\t0\t32\t44\t62\nn01_1.JPEG\t52\t55\t57\t59\n",
        "train/n02/images/n02_0.JPEG": "x",
        "train/n02/n02_boxes.txt": "",
        "val/images/val_0.JPEG": "x",
        "val/images/val_1.JPEG": "x",
        "val/val_annotations.txt": "val_0.JPEG\tn02\t0\t32\t44\t62\nval_1.JPEG\tn01\t0\t0\t63\t63\n",
        "test/images/test_0.JPEG": "x",
        "wnids.txt": "n01\nn02\n",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return TinyImagenetParams(root=str(root))


def test_the_public_layout(tmp_path):
    """Breaks when a split, a class or a box is read wrongly; inclusive corners become half-open."""
    found = scan(make(tmp_path))
    assert found.classes == ["n01", "n02"]
    assert {(i.image_id, i.label_name, i.split): list(i.boxes or ()) for i in found.images} == {
        ("train/n01/images/n01_0.JPEG", "n01", "train"): [(0, 32, 45, 63)],
        ("train/n01/images/n01_1.JPEG", "n01", "train"): [(52, 55, 58, 60)],
        ("train/n02/images/n02_0.JPEG", "n02", "train"): [],
        ("val/images/val_0.JPEG", "n02", "val"): [(0, 32, 45, 63)],
        ("val/images/val_1.JPEG", "n01", "val"): [(0, 0, 64, 64)],
    }


def test_a_remote_root_reads_the_same(tmp_path):
    """Breaks when annotations are opened as local files: the data may lie in a bucket."""
    files = Files("memory://tiny")
    params = make(tmp_path)
    for folder, _, names in os.walk(tmp_path):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                files.put(os.path.relpath(path, tmp_path), file.read())
    local, remote = scan(params), scan(TinyImagenetParams(root="memory://tiny"))
    assert [(i.image_id, i.split, i.boxes) for i in remote.images] == [
        (i.image_id, i.split, i.boxes) for i in local.images
    ]


def test_an_archive_is_unpacked_once_and_becomes_the_root(tmp_path):
    """Breaks when the archive's top folder stays in the paths, or a second run unpacks again."""
    make(tmp_path / "tiny-imagenet-200")
    with tarfile.open(tmp_path / "tiny.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "tiny-imagenet-200", "tiny-imagenet-200")
    params = TinyImagenetParams(root=str(tmp_path / "data" / "tiny"), archive=str(tmp_path / "tiny.tar.gz"))
    assert len(scan(params).images) == 5
    (tmp_path / "tiny.tar.gz").unlink()
    assert len(scan(params).images) == 5
    assert os.listdir(tmp_path / "data") == ["tiny"]


@pytest.mark.parametrize("kind", ["missing", "rubbish", "two tops", "climbs", "absolute", "link"])
@pytest.mark.parametrize("filters", [True, False])
def test_a_bad_archive_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, kind, filters):
    """Breaks when half an archive becomes a data set, or one writes outside its folder, also with an older Python."""
    if not filters:
        monkeypatch.setattr(archives, "_FILTER", {})
    archive = tmp_path / "a.tar.gz"
    if kind == "rubbish":
        archive.write_bytes(b"no archive")
    if kind == "two tops":
        with tarfile.open(archive, "w:gz") as tar:
            for name in ("one", "two"):
                tar.addfile(tarfile.TarInfo(name))
    outside = tmp_path / "outside"
    names = {"climbs": "../../outside", "absolute": str(outside), "link": "link"}
    if kind in names:
        with tarfile.open(archive, "w:gz") as tar:
            member = tarfile.TarInfo(names[kind])
            member.type, member.linkname = (tarfile.SYMTYPE, str(tmp_path)) if kind == "link" else (tarfile.REGTYPE, "")
            tar.addfile(member)
    with pytest.raises(UsageError, match="dataset: archive"):
        scan(TinyImagenetParams(root=str(tmp_path / "data" / "tiny"), archive=str(archive)))
    assert os.listdir(tmp_path / "data") == []
    assert not outside.exists()


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("val/val_annotations.txt", "val_0.JPEG\tn02\t0\t32\t44\n", "line 1: 6 columns were expected, found 5"),
        ("val/val_annotations.txt", "val_9.JPEG\tn02\t0\t32\t44\t62\n", "names val_9.JPEG"),
        ("train/n01/n01_boxes.txt", "n01_0.JPEG\ta\tb\tc\td\n", "four numbers"),
        ("train/n01/n01_boxes.txt", None, "n01_boxes.txt is missing"),
    ],
)
def test_bad_annotations_are_one_line(tmp_path, path, text, words):
    """Breaks when a damaged annotation file gives a traceback or wrong boxes."""
    params = make(tmp_path)
    if text is None:
        (tmp_path / path).unlink()
    else:
        (tmp_path / path).write_text(text)
    with pytest.raises(UsageError, match=words):
        scan(params)


def test_a_missing_root_is_one_line(tmp_path):
    """Breaks when a wrong path, or a folder of something else, gives a traceback."""
    with pytest.raises(UsageError, match="dataset: root"):
        scan(TinyImagenetParams(root=str(tmp_path / "none")))
    (tmp_path / "cat").mkdir()
    with pytest.raises(UsageError, match="train/<wnid>/images"):
        scan(TinyImagenetParams(root=str(tmp_path)))
