import io
import shutil
import subprocess
import tarfile

import pytest
import webdataset

from pipeline.base.errors import UsageError
from pipeline.store.files import Files
from stages.ingest.readers.webdataset import WebdatasetParams, WebdatasetReader
from tests import runs
from tests.stages.ingest.readers.reading import labelled, picture, read, recognised


def write(path, samples):
    """A shard as the package writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with webdataset.TarWriter(str(path)) as writer:
        for sample in samples:
            writer.write(sample)
    return path


def tar(path, members):
    """A shard of (name, bytes)."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def make(root):
    """A replica of ImageNet's usual shards: running keys, numbers in .cls; val beside train."""
    for shard in range(2):
        samples = [
            {"__key__": f"{shard * 3 + i:09d}", "jpg": picture(shard * 3 + i), "cls": (shard + i) % 3} for i in range(3)
        ]
        write(root / f"imagenet1k-train-{shard:04d}.tar", samples)
    write(root / "imagenet1k-validation-0000.tar", [{"__key__": "000000000", "jpg": picture(9), "cls": 2}])
    return root


def scan(root, **more):
    return WebdatasetReader(WebdatasetParams(root=str(root), **more)).scan()


def test_shards_hold_what_the_package_reads(tmp_path):
    """Breaks when a key, a class or the bytes of an image differ from what webdataset itself reads."""
    root = make(tmp_path / "in")
    shards = sorted(root.glob("*.tar"))
    known = {}
    for shard in shards:
        for sample in webdataset.WebDataset(str(shard), shardshuffle=False):
            known[f"{shard.name}/{sample['__key__']}.jpg"] = (sample["cls"].decode(), sample["jpg"])
    found = scan(root)
    assert {image.image_id: (image.label_name, read(root, image)) for image in found.images} == known
    assert [image.split for image in found.images] == ["train"] * 6 + ["val"]
    assert found.classes == ["0", "1", "2"]
    assert found.left_out == []
    assert all(image.boxes is None for image in found.images)


def test_a_shard_that_is_added_changes_no_id_and_a_shard_may_be_the_root(tmp_path):
    """Breaks when an id depends on the other shards, although their keys start anew in each."""
    root = make(tmp_path / "in")
    before = labelled(scan(root))
    write(root / "imagenet1k-train-0002.tar", [{"__key__": f"{i:09d}", "jpg": picture(i), "cls": 0} for i in range(9)])
    assert before.items() < labelled(scan(root)).items()
    alone = root / "imagenet1k-train-0001.tar"
    found = scan(alone)
    assert labelled(found).items() < before.items()
    assert [read(alone, image) for image in found.images] == [picture(i) for i in (3, 4, 5)]


def test_a_remote_root_reads_the_same(tmp_path):
    """Breaks when shards are opened as local files, or a shard in a bucket cannot be the root."""
    root = make(tmp_path / "in")
    files = Files("memory://shards")
    for path in root.glob("*.tar"):
        files.put(path.name, path.read_bytes())
    local, remote = scan(root), scan("memory://shards")
    assert labelled(local) == labelled(remote)
    assert [read("memory://shards", image) for image in remote.images] == [read(root, image) for image in local.images]
    alone = scan("memory://shards/imagenet1k-train-0001.tar")
    assert read("memory://shards/imagenet1k-train-0001.tar", alone.images[0]) == picture(3)


def test_json_says_class_and_boxes(tmp_path):
    """Breaks when the other way to label a sample is not read, or some images without boxes make all be without."""
    write(tmp_path / "a.tar", [
        {"__key__": "a", "jpg": b"x", "json": {"label": "dog", "boxes": [[1, 2, 3.5, 4], [0, 0, 9, 9]]}},
        {"__key__": "b", "jpg": b"x", "json": {"cls": 7, "caption": "no boxes"}},
        {"__key__": "c", "jpg": b"x", "cls": "cat", "json": {"class": "never"}},
    ])  # fmt: skip
    found = scan(tmp_path)
    assert [(image.label_name, image.boxes) for image in found.images] == [
        ("dog", [(1, 2, 3.5, 4), (0, 0, 9, 9)]), ("7", ()), ("cat", ()),
    ]  # fmt: skip


def test_classes_are_texts_and_numbers_have_names_if_one_says_so(tmp_path):
    """Breaks when 001 becomes 1, blanks stay, or `names` are not used."""
    tar(tmp_path / "a.tar", [("a.jpg", b"x"), ("a.cls", b"001\n"), ("b.jpg", b"x"), ("b.cls", "caf\u00e9 ".encode())])
    assert scan(tmp_path).classes == ["001", "caf\u00e9"]
    tar(tmp_path / "a.tar", [("a.jpg", b"x"), ("a.cls", b"001"), ("b.jpg", b"x"), ("b.cls", b"-1")])
    found = scan(tmp_path, names=("cat", "dog"))
    assert (found.classes, found.left_out) == (["dog"], ["1 images without a class (.cls, or a label in .json)"])


def test_keys_folders_and_endings_are_those_of_the_package(tmp_path):
    """Breaks when a key is cut at another dot, a folder is lost, or an ending in capitals is no image."""
    members = [
        ("./n01/10026.v2.JPEG", b"1"), ("./n01/10026.cls", b"1"), ("n0.2/b.JPG", b"2"), ("n0.2/b.cls", b"2"),
        ("c.seg.png", b"s"), ("c.jpg", b"3"), ("c.cls", b"3"), ("__meta__/x.jpg", b"m"), ("README", b"r"),
    ]  # fmt: skip
    tar(tmp_path / "a.tar", members)
    found = scan(tmp_path)
    assert [image.image_id for image in found.images] == [
        "a.tar/n01/10026.v2.JPEG", "a.tar/n0.2/b.JPG", "a.tar/c.jpg",
    ]  # fmt: skip
    known = [s["__key__"] for s in webdataset.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False) if "cls" in s]
    assert [image.image_id for image in found.images] == [
        "a.tar/" + key.removeprefix("./") + end for key, end in zip(known, (".v2.JPEG", ".JPG", ".jpg"), strict=True)
    ]
    assert found.left_out == ["3 members that are neither images nor classes (2 without a key, 1 .seg.png)"]


def test_what_is_no_labelled_image_is_left_out_and_said(tmp_path):
    """Breaks when images without a class, classes without an image or other members vanish in silence."""
    tar(tmp_path / "train.tar", [
        ("a.jpg", b"x"), ("a.cls", b"1"), ("b.jpg", b"x"), ("c.cls", b"1"), ("d.jpg", b"x"), ("d.json", b'{"text": 1}'),
        ("e.txt", b"x"), ("f.jpg", b"x"), ("f.cls", b" \n"),
    ])  # fmt: skip
    (tmp_path / "LICENSE.txt").write_text("x")
    found = scan(tmp_path)
    assert len(found.images) == 1
    assert found.left_out == [
        "3 images without a class (.cls, or a label in .json)", "2 keys without an image",
        "1 members that are neither images nor classes (1 .txt)", "1 files that are no images (1 .txt)",
    ]  # fmt: skip


def test_options_name_the_endings(tmp_path):
    """Breaks when shards with several images, or with other endings of classes, cannot be read."""
    tar(tmp_path / "a.tar", [
        ("a.left.jpg", b"l"), ("a.right.jpg", b"r"), ("a.species", b"owl"), ("a.json", b'{"kind": "barn"}'),
    ])  # fmt: skip
    with pytest.raises(UsageError, match=r"a.tar: 'a': has several images \(left.jpg, right.jpg\): set `image` to one"):
        scan(tmp_path)
    (image,) = scan(tmp_path, image="right.jpg", label="species").images
    assert (image.label_name, read(tmp_path, image)) == ("owl", b"r")
    assert scan(tmp_path, image="left.jpg", label="kind").classes == ["barn"]


def test_names_that_no_file_may_have_are_rows_of_the_quarantine(tmp_path):
    """Breaks when one odd name ends the run, or a name that climbs is taken."""
    tar(tmp_path / "a.tar", [("a\udce9.jpg", b"x"), ("a\udce9.cls", b"1"), ("b\n.jpg", b"x"), ("b\n.cls", b"1")])
    assert [(image.image_id, image.trouble) for image in scan(tmp_path).images] == [
        ("a.tar/a\\xe9.jpg", "its name has a character that no name may have"),
        ("a.tar/b\n.jpg", "its name has a character that no name may have"),
    ]
    tar(tmp_path / "a.tar", [("../../a.jpg", b"x"), ("../../a.cls", b"1")])
    with pytest.raises(UsageError, match="a.tar: '../../a.jpg' climbs out"):
        scan(tmp_path)


BAD = {
    "a name twice": ([("a.jpg", b"x"), ("a.cls", b"1"), ("a.JPG", b"y")], r"a.tar: 'a.JPG': there twice"),
    "no JSON": ([("a.jpg", b"x"), ("a.json", b"{")], r"a.tar: 'a': no JSON"),
    "no object": ([("a.jpg", b"x"), ("a.json", b"[1]")], r"a.tar: 'a': an object was expected"),
    "deep JSON": ([("a.jpg", b"x"), ("a.json", b"[" * 99999)], r"a.tar: 'a': no JSON"),
    "a class that is a list": (
        [("a.jpg", b"x"), ("a.json", b'{"cls": [1]}')],
        r"'a': a class must be a text or an int",
    ),
    "a class that is true": ([("a.jpg", b"x"), ("a.json", b'{"cls": true}')], r"'a': a class must be a text or an int"),
    "a class in another encoding": ([("a.jpg", b"x"), ("a.cls", b"caf\xe9")], r"'a': its class is no UTF-8"),
    "a box of three": ([("a.jpg", b"x"), ("a.json", b'{"cls": 1, "boxes": [[1, 2, 3]]}')], r"a box of four numbers"),
    "a box of NaN": ([("a.jpg", b"x"), ("a.json", b'{"cls": 1, "boxes": [[NaN, 0, 3, 4]]}')], r"a box of four numbers"),
    "fractions": ([("a.jpg", b"x"), ("a.json", b'{"cls": 1, "boxes": [[0, 0, 0.5, 1]]}')], r"pixels are expected"),
    "no area": ([("a.jpg", b"x"), ("a.json", b'{"cls": 1, "boxes": [[5, 0, 5, 1]]}')], r"has no area"),
    "no class at all": ([("a.jpg", b"x")], r"no image in 1 shards has a class"),
    "a huge class": ([("a.jpg", b"x"), ("a.cls", b"1" * (2**20 + 1))], r"'a.cls' has 1048577 bytes"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_sample_is_named_in_one_line(tmp_path, case):
    """Breaks when a bad record is taken, or the line does not say which shard and which key."""
    members, words = BAD[case]
    tar(tmp_path / "a.tar", members)
    with pytest.raises(UsageError, match=words) as refused:
        scan(tmp_path)
    assert str(refused.value).startswith("dataset: ")
    assert "\n" not in str(refused.value)


def test_roots_without_shards_and_with_packed_ones(tmp_path):
    """Breaks when compressed shards, which cannot be read by range, are passed over or give no hint."""
    with pytest.raises(UsageError, match="No such file"):
        scan(tmp_path / "none")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(UsageError, match=r"there are no shards \(.tar\)"):
        scan(tmp_path)
    write(tmp_path / "b.tar", [{"__key__": "a", "jpg": b"x", "cls": 1}])
    subprocess.run(["gzip", "-k", tmp_path / "b.tar"], check=True)
    with pytest.raises(UsageError, match="b.tar.gz: compressed: .* decompress it"):
        scan(tmp_path)
    (tmp_path / "b.tar.gz").unlink()
    shutil.copy(tmp_path / "b.tar", tmp_path / "train-0.tar")
    with pytest.raises(UsageError, match="b.tar: its name says no split, as that of train-0.tar does"):
        scan(tmp_path)


def test_recognition(tmp_path):
    """Breaks when shards are not recognised, or other tars and folders of images are taken for them."""
    root = make(tmp_path / "shards")
    first = "imagenet1k-train-0000.tar"
    assert recognised(WebdatasetReader, root) == (f"{first} with images and .cls", "")
    assert recognised(WebdatasetReader, root / first) == (f"{first} with images and .cls", "")
    (tmp_path / "nested" / "train").mkdir(parents=True)
    shutil.copy(root / first, tmp_path / "nested" / "train" / "0.tar")
    assert recognised(WebdatasetReader, tmp_path / "nested") == ("train/0.tar with images and .cls", "")
    subprocess.run(["gzip", tmp_path / "nested" / "train" / "0.tar"], check=True)
    packed = "shards that are not compressed: images in them are read by range"
    assert recognised(WebdatasetReader, tmp_path / "nested") == ("train/0.tar.gz", packed)
    for name, members, expected in (
        ("photos", [("a.jpg", b"x"), ("b.jpg", b"x")], ("t.tar", "a .cls or .json beside each image in t.tar")),
        ("tars", [("n01440764.tar", b"x"), ("n01443537.tar", b"x")], None),
        ("texts", [("a.txt", b"x"), ("b.csv", b"x")], None),
    ):
        (tmp_path / name).mkdir()
        tar(tmp_path / name / "t.tar", members)
        assert recognised(WebdatasetReader, tmp_path / name) == expected
    (root / "train" / "cat").mkdir(parents=True)
    (root / "train" / "cat" / "a.jpg").write_bytes(b"x")
    assert recognised(WebdatasetReader, root) is None
    assert recognised(WebdatasetReader, tmp_path / "none") is None


def test_a_run_over_shards(tmp_path):
    """Breaks when an image in a shard is not opened by its range, or one that is no picture ends the run."""
    root = make(tmp_path / "in")
    write(root / "imagenet1k-train-0009.tar", [
        {"__key__": "bad", "jpg": b"no picture", "cls": 1}, {"__key__": "good", "png": picture(50, "PNG"), "cls": 1},
    ])  # fmt: skip
    dataset = {"reader": "webdataset", "root": str(root), "dev_fraction": 0.0}
    target = runs.target_of({"run_root": str(tmp_path / "run"), "dataset": dataset, "stages": {}})
    runs.execute(target)
    rows = runs.rows(target, "ingest", "images")
    assert len(rows) == 8
    assert {(row["width"], row["height"], row["uri"].startswith("dataset://ingest/imagenet1k-")) for row in rows} == {
        (12, 8, True)
    }
    (bad,) = runs.rows(target, "ingest", "quarantine")
    assert bad["image_id"] == "imagenet1k-train-0009.tar/bad.jpg"
    assert bad["reason"] == "not an image"
