"""Which reader takes which root, by its names alone."""

import io
import json
import logging
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.base.errors import UsageError
from stages import catalog
from stages.ingest.reader import ReaderParams
from stages.ingest.readers.auto import AutoReader
from stages.ingest.readers.folder import FolderParams, FolderReader

_PICTURE = io.BytesIO()
Image.new("RGB", (8, 6)).save(_PICTURE, "JPEG")
JPEG = _PICTURE.getvalue()


def put(root: Path, *paths: str, **texts: str) -> None:
    """Pictures at paths, and texts at others (``a__b`` is a/b)."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(JPEG)
    write(root, texts)


def write(root: Path, texts: dict[str, str]) -> None:
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def xml(name: str, category: str) -> str:
    return (
        f"<annotation><filename>{name}</filename><size><width>8</width><height>6</height><depth>3</depth></size>"
        f"<object><name>{category}</name><difficult>0</difficult>"
        "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>4</ymax></bndbox></object></annotation>"
    )


def class_folders(root: Path) -> None:
    put(root, "cat/a.jpg", "dog/b.jpg")


def split_folders(root: Path) -> None:
    put(root, "train/cat/a.jpg", "val/cat/b.jpg", "test/dog/c.jpg")


def other_split_names(root: Path) -> None:
    put(root, "Train/cat/a.jpg", "Validation/dog/b.jpg")


def kaggle(root: Path) -> None:
    data = "ILSVRC/Data/CLS-LOC"
    train = [f"{data}/train/{wnid}/{wnid}_{n}.JPEG" for wnid in ("n01440764", "n01443537") for n in (1, 2)]
    val = [f"{data}/val/ILSVRC2012_val_0000000{n}.JPEG" for n in (1, 2)]
    put(root, *train, *val, f"{data}/test/ILSVRC2012_test_00000001.JPEG")
    rows = "ILSVRC2012_val_00000001,n01440764 1 1 5 4 \nILSVRC2012_val_00000002,n01443537 1 1 5 4 \n"
    write(root, {
        "LOC_val_solution.csv": f"ImageId,PredictionString\n{rows}",
        "LOC_train_solution.csv": "ImageId,PredictionString\n",
        "LOC_synset_mapping.txt": "n01440764 tench, Tinca tinca\nn01443537 goldfish, Carassius auratus\n",
        "LOC_sample_submission.csv": "ImageId,PredictionString\n",
        "ILSVRC/ImageSets/CLS-LOC/val.txt": "ILSVRC2012_val_00000001 1\n",
        "ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_00000001.xml": xml("ILSVRC2012_val_00000001", "n01440764"),
    })  # fmt: skip


def imagenet(root: Path) -> None:
    put(root, "train/n01440764/n01440764_1.JPEG", "val/ILSVRC2012_val_00000001.JPEG")
    write(root, {"Annotations/val/ILSVRC2012_val_00000001.xml": xml("ILSVRC2012_val_00000001", "n01440764")})


def cub(root: Path) -> None:
    name = "001.Black_footed_Albatross"
    put(root, f"images/{name}/Black_Footed_Albatross_0046_18.jpg")
    write(root, {
        "images.txt": f"1 {name}/Black_Footed_Albatross_0046_18.jpg\n", "image_class_labels.txt": "1 1\n",
        "train_test_split.txt": "1 1\n", "bounding_boxes.txt": "1 1.0 1.0 4.0 3.0\n", "classes.txt": f"1 {name}\n",
        "README": "", "attributes/certainties.txt": "", "parts/parts.txt": "",
    })  # fmt: skip


def tiny_imagenet(root: Path) -> None:
    put(root, "train/n01443537/images/n01443537_0.JPEG", "val/images/val_0.JPEG", "test/images/test_0.JPEG")
    write(root, {
        "train/n01443537/n01443537_boxes.txt": "n01443537_0.JPEG\t0\t0\t4\t4\n", "wnids.txt": "n01443537\n",
        "val/val_annotations.txt": "val_0.JPEG\tn01443537\t0\t0\t4\t4\n", "words.txt": "n01443537\tgoldfish\n",
    })  # fmt: skip


def instances(name: str) -> str:
    image = {"id": 1, "file_name": name, "width": 8, "height": 6}
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 3], "area": 12, "iscrowd": 0}
    return json.dumps({"images": [image], "annotations": [box], "categories": [{"id": 1, "name": "cat"}]})


def coco(root: Path) -> None:
    put(root, "train2017/000000000009.jpg", "val2017/000000000139.jpg")
    write(root, {"annotations/instances_train2017.json": instances("000000000009.jpg"),
                 "annotations/instances_val2017.json": instances("000000000139.jpg"),
                 "annotations/captions_val2017.json": "{}"})  # fmt: skip


def exported_coco(root: Path) -> None:
    put(root, "train/a.jpg", "valid/b.jpg")
    write(
        root, {"train/_annotations.coco.json": instances("a.jpg"), "valid/_annotations.coco.json": instances("b.jpg")}
    )


def voc(root: Path) -> None:
    put(root, "JPEGImages/2007_000027.jpg")
    write(root, {
        "Annotations/2007_000027.xml": xml("2007_000027.jpg", "person"),
        "ImageSets/Main/train.txt": "2007_000027\n", "ImageSets/Main/person_train.txt": "2007_000027  1\n",
    })  # fmt: skip


def loose_xml(root: Path) -> None:
    put(root, "images/raccoon-1.jpg")
    write(root, {"annotations/raccoon-1.xml": xml("raccoon-1.jpg", "raccoon")})


def features() -> bytes:
    label = {"names": ["cat", "dog"], "_type": "ClassLabel"}
    return json.dumps({"info": {"features": {"image": {"_type": "Image"}, "label": label}}}).encode()


def table(metadata: dict[bytes, bytes] | None) -> pa.Table:
    rows = {"image": [{"bytes": JPEG, "path": f"{n}.jpg"} for n in range(2)], "label": [0, 1]}
    return pa.table(rows).replace_schema_metadata(metadata)


def hugging_face(root: Path) -> None:
    (root / "data").mkdir()
    for split in ("train", "validation"):
        pq.write_table(table({b"huggingface": features()}), root / f"data/{split}-00000-of-00001.parquet")
    write(root, {"README.md": "---\nlicense: mit\n---\n"})


def image_folder(root: Path) -> None:
    put(root, "train/0001.png", "train/0002.png")
    write(root, {"train/metadata.csv": "file_name,label\n0001.png,cat\n0002.png,dog\n"})


def parquet(root: Path) -> None:
    pq.write_table(table(None).set_column(1, "label", pa.array(["cat", "dog"])), root / "part-0.parquet")


def webdataset(root: Path) -> None:
    with tarfile.open(root / "train-000000.tar", "w") as tar:
        for name, data in (("0001.jpg", JPEG), ("0001.cls", b"3"), ("0002.jpg", JPEG), ("0002.cls", b"4")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def csv(root: Path) -> None:
    put(root, "a.jpg", "deep/b.jpg")
    write(root, {"images.csv": "path,label,split\na.jpg,cat,train\ndeep/b.jpg,dog,val\n"})


def evaluator(root: Path) -> None:
    put(root, "train/n01440764/n01440764_1.JPEG", "val/ILSVRC2012_val_00000001.JPEG")
    folder = "metadata/ILSVRC/test"
    write(root, {
        f"{folder}/image_ids.txt": "val/ILSVRC2012_val_00000001.JPEG\n",
        f"{folder}/class_labels.txt": "val/ILSVRC2012_val_00000001.JPEG,0\n",
        f"{folder}/image_sizes.txt": "val/ILSVRC2012_val_00000001.JPEG,8,6\n",
        f"{folder}/localization.txt": "val/ILSVRC2012_val_00000001.JPEG,1,1,5,4\n",
    })  # fmt: skip


ROOTS: dict[str, tuple[Callable[[Path], None], str, int]] = {
    "class folders": (class_folders, "folder", 2),
    "split folders": (split_folders, "folder", 3),
    "other names of splits": (other_split_names, "folder", 2),
    "Kaggle's ILSVRC": (kaggle, "ilsvrc", 6),
    "ILSVRC on a disk": (imagenet, "ilsvrc", 2),
    "CUB": (cub, "cub", 1),
    "the folder that holds CUB": (lambda root: cub(root / "CUB_200_2011"), "cub", 1),
    "Tiny ImageNet": (tiny_imagenet, "tiny_imagenet", 2),
    "COCO": (coco, "coco", 2),
    "COCO by folder": (exported_coco, "coco", 2),
    "VOC": (voc, "voc", 1),
    "VOCdevkit": (lambda root: voc(root / "VOCdevkit/VOC2012"), "voc", 1),
    "loose XML": (loose_xml, "voc", 1),
    "Hugging Face": (hugging_face, "huggingface", 4),
    "image folder of Hugging Face": (image_folder, "huggingface", 2),
    "Parquet": (parquet, "parquet", 2),
    "tar shards": (webdataset, "webdataset", 2),
    "CSV": (csv, "csv", 2),
    "the evaluator's metadata": (evaluator, "wsol", 1),
}


def auto(root: Path) -> AutoReader:
    reader = AutoReader(ReaderParams(root=str(root)))
    reader.among(list(catalog.readers().values()))
    return reader


@pytest.mark.parametrize("name", ROOTS)
def test_a_root_finds_its_reader(tmp_path, caplog, name):
    """Breaks when a layout of the field is taken for another, or its images are not all found (faults.md B1)."""
    make, reader, images = ROOTS[name]
    root = tmp_path / "data"
    root.mkdir()
    make(root)
    with caplog.at_level(logging.INFO, "weakbox.ingest"):
        found = auto(root).scan()
    assert f"reader auto: {reader} takes " in caplog.text
    assert len(found.images) == images
    assert not [image.trouble for image in found.images if image.trouble]


@pytest.mark.parametrize("name", [name for name, (_, reader, _) in ROOTS.items() if reader != "folder"])
def test_folder_refuses_what_another_reader_takes(tmp_path, name):
    """Breaks when a benchmark's root becomes classes called images, ILSVRC or annotations without a word."""
    make, reader, _ = ROOTS[name]
    make(tmp_path)
    folder = FolderReader(FolderParams(root=str(tmp_path)))
    folder.among(list(catalog.readers().values()))
    with pytest.raises(UsageError, match=f"this is the layout of reader {reader} .*take reader: {reader} or auto"):
        folder.scan()


def beside_each_other(root: Path) -> None:
    loose_xml(root)
    hugging_face(root)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: None, "no layout that is known here"),
        (lambda root: put(root, "a.jpg", "b.jpg"), "no layout that is known here"),
        (lambda root: put(root, "all/train/cat/a.jpg", "all/val/cat/b.jpg"), "folder lacks class folders with images"),
        (lambda root: write(root, {"films/a.mp4": "x", "notes.txt": "x"}), "folder lacks class folders with images"),
        (beside_each_other, "laid out for reader .* and reader .*: name one of them"),
        (lambda root: os.rmdir(root), "dataset: root .*: "),
    ],
)
def test_what_cannot_be_told_is_refused(tmp_path, make, words):
    """Breaks when a guess is made where two layouts fit, or none does."""
    root = tmp_path / "data"
    root.mkdir()
    make(root)
    with pytest.raises(UsageError, match=words):
        auto(root).scan()


def test_the_chosen_reader_decides_which_frame_boxes_are_in(tmp_path):
    """Breaks when boxes of photographs are taken in stored pixels because the reader was found, not named."""
    class_folders(tmp_path)
    assert auto(tmp_path).displayed
    other = tmp_path / "other"
    cub(other)
    assert not auto(other).displayed
