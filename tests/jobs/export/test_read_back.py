"""Each format read back by a tool that is not ours: what a user's training code will see."""

import contextlib
import io
import json
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps
from pycocotools import mask as rle
from pycocotools.coco import COCO

from stages.vision.boxes import iou

HALF = 0.5
POLYGON_IOU = 0.99


def of_split(want: dict[str, dict[str, Any]], split: str) -> dict[str, dict[str, Any]]:
    return {name: own for name, own in want.items() if own["split"] == split}


def assert_boxes(found: Any, own: dict[str, Any], within: float = HALF) -> None:
    """The same boxes in whichever order; a pixel's half apart at most."""
    boxes = np.asarray(found, np.float64).reshape(-1, 4)
    assert len(boxes) == len(own["boxes"])
    best = [np.abs(boxes - box).max(axis=1).min() for box in own["boxes"]]
    assert max(best) <= within, best


def assert_masks(found: Any, own: dict[str, Any], least: float = 1.0) -> None:
    """The same masks in whichever order."""
    masks = np.asarray(found).astype(bool)
    assert len(masks) == len(own["masks"])
    for mask in own["masks"]:
        overlaps = [(mask & other).sum() / (mask | other).sum() for other in masks]
        assert max(overlaps) >= least, overlaps


def shown(path: Path) -> tuple[int, int]:
    """Size of a picture as viewers show it."""
    with Image.open(path) as picture:
        return ImageOps.exif_transpose(picture).size


@pytest.mark.parametrize("outlines", ["rle", "polygon"])
def test_coco_by_pycocotools_and_torchvision(export, want, outlines):
    """Breaks when a coordinate is rounded, a mask is simplified or put to another box, or a picture is another's."""
    out = export("coco", "--images", "copy", "--outlines", outlines)
    assert sorted(path.name for path in out.glob("coco_*.json")) == [
        f"coco_{s}.json" for s in sorted({o["split"] for o in want.values()})
    ]
    seen = set()
    for path in out.glob("coco_*.json"):
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO(str(path))
        for info in coco.loadImgs(coco.getImgIds()):
            own = want[info["image_id"]]
            seen.add(info["image_id"])
            assert (info["width"], info["height"]) == own["size"] == shown(out / info["file_name"])
            records = coco.loadAnns(coco.getAnnIds(imgIds=info["id"]))
            assert {coco.cats[record["category_id"]]["name"] for record in records} == {own["class"]}
            corners = [[x, y, x + w, y + h] for x, y, w, h in (record["bbox"] for record in records)]
            assert_boxes(corners, own, within=0)
            assert_masks([coco.annToMask(record) for record in records], own, 1.0 if outlines == "rle" else POLYGON_IOU)
            assert [record["area"] for record in records] == [mask.sum() for mask in own["masks"]]
    assert seen == set(want)
    by_torchvision(out, want)


def by_torchvision(out: Path, want: dict[str, dict[str, Any]]) -> None:
    from torchvision.datasets import CocoDetection, wrap_dataset_for_transforms_v2

    with contextlib.redirect_stdout(io.StringIO()):
        read = wrap_dataset_for_transforms_v2(CocoDetection(str(out), str(out / "coco_train.json")))
        number = len(read)
        targets = [read[index][1] for index in range(number)]
    sizes = sorted(tuple(target["boxes"].canvas_size) for target in targets)
    assert number == len(of_split(want, "train"))
    assert sum(len(target["boxes"]) for target in targets) == sum(
        len(o["boxes"]) for o in of_split(want, "train").values()
    )
    assert sizes  # torchvision reads stored pixels: what it makes of EXIF is its own


def test_coco_by_faster_coco_eval(export, want):
    """Breaks when scores or areas are not as detections have them: its own results against it are perfect."""
    from faster_coco_eval import COCO as Fast
    from faster_coco_eval import COCOeval_faster

    path = export("coco") / "coco_train.json"
    truth = Fast(str(path))
    found = truth.loadRes([dict(record) for record in json.loads(path.read_text())["annotations"]])
    evaluated = COCOeval_faster(truth, found, "segm")
    with contextlib.redirect_stdout(io.StringIO()):
        evaluated.run()
    assert evaluated.stats[0] == pytest.approx(1.0)
    assert len(truth.getImgIds()) == len(of_split(want, "train"))


def test_coco_by_supervision(export, want):
    """Breaks when the folder of pictures is not where the file says."""
    import supervision as sv

    out = export("coco", "--images", "copy")
    read = sv.DetectionDataset.from_coco(str(out), str(out / "coco_train.json"), force_masks=True)
    check_supervision(read, of_split(want, "train"), by_name(out / "coco_train.json"), masks=True)


def by_name(path: Path) -> dict[str, str]:
    """Image id by the file's name."""
    return {Path(info["file_name"]).name: info["image_id"] for info in json.loads(path.read_text())["images"]}


def check_supervision(read: Any, want: dict[str, Any], ids: dict[str, str], *, masks: bool, shift: float = 0) -> None:
    """supervision reads pixels as they are stored; EXIF-turned pictures are left to tools that turn them."""
    seen = set()
    for path, _, found in read:
        image_id = ids[Path(path).name]
        own = want[image_id]
        seen.add(image_id)
        boxes = found.xyxy + np.array([0, 0, shift, shift])
        assert_boxes(boxes, own)
        assert {read.classes[number] for number in found.class_id} == {own["class"]}
        if masks:
            assert_masks(found.mask, own, POLYGON_IOU)
    assert seen == set(want)


@pytest.mark.parametrize("outlines", ["none", "polygon"])
def test_yolo_by_supervision(export, want, ids, outlines):
    """Breaks when fractions are of another size, classes are numbered apart, or a picture's labels are another's."""
    import supervision as sv

    out = export("yolo", "--images", "copy", "--outlines", outlines)
    train = of_split(want, "train")
    images, labels = out / "images" / "train", out / "labels" / "train"
    assert {path.stem for path in images.iterdir()} == {path.stem for path in labels.iterdir()}
    assert len({path.stem.casefold() for path in images.iterdir()}) == len(train)
    read = sv.DetectionDataset.from_yolo(
        str(images), str(labels), str(out / "data.yaml"), force_masks=outlines == "polygon"
    )
    assert len(read) == len(train)
    seen = set()
    for path, picture, found in read:
        image_id = ids(Path(path))
        own = train[image_id]
        seen.add(image_id)
        if picture.shape[1::-1] != own["size"]:
            continue  # it reads the stored pixels of the one that EXIF turns
        assert {read.classes[number] for number in np.asarray(found.class_id)} == {own["class"]}
        if outlines == "polygon":
            assert_masks(found.mask, own, POLYGON_IOU)
        else:
            assert_boxes(found.xyxy, own)
    assert seen == set(train)


@pytest.fixture
def ids(odd):
    """ids(path of an exported picture) -> its image id, by its bytes."""
    root = Path(odd.config.dataset["root"])
    known = {path.read_bytes(): path.relative_to(root).as_posix() for path in root.rglob("*.*") if path.is_file()}
    return lambda path: known[path.read_bytes()]


def test_yolo_turns_with_the_picture(export, want, ids):
    """Breaks when the box of a phone's photograph fits its stored pixels and no viewer (faults.md B3)."""
    out = export("yolo", "--images", "copy")
    seen = 0
    for path in (out / "images").rglob("*.*"):
        own = want[ids(path)]
        width, height = shown(path)
        label = Path(str(path).replace("/images/", "/labels/")).with_suffix(".txt")
        rows = np.array([[float(part) for part in line.split()] for line in label.read_text().splitlines()])
        x, y, w, h = rows[:, 1:].T * np.array([width, height, width, height])[:, None]
        assert_boxes(np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1), own, within=0.001)
        seen += 1
    assert seen == len(want)


def by_voc_detection(out: Path, want: dict[str, dict[str, Any]], folder: Path) -> None:
    """The data set as torchvision opens it, in the folders of the challenge."""
    from torchvision.datasets import VOCDetection

    (folder / "VOCdevkit").mkdir()
    (folder / "VOCdevkit" / "VOC2012").symlink_to(out)
    read = VOCDetection(str(folder), year="2012", image_set="train")
    assert len(read) == len(want)
    sizes = sorted(own["size"] for own in want.values())
    assert sorted(ImageOps.exif_transpose(picture).size for picture, _ in read) == sizes
    assert sum(len(said["annotation"]["object"]) for _, said in read) == sum(len(o["boxes"]) for o in want.values())


def test_voc_by_torchvision_and_supervision(export, want, ids, tmp_path):
    """Breaks when corners are not counted from 1, both included, or a split's list names what is not there."""
    import supervision as sv
    from defusedxml.ElementTree import parse
    from torchvision.datasets import VOCDetection

    out = export("voc", "--images", "copy")
    seen = set()
    for path in (out / "JPEGImages").iterdir():
        own = want[ids(path)]
        seen.add(ids(path))
        said = VOCDetection.parse_voc_xml(parse(out / "Annotations" / f"{path.stem}.xml").getroot())["annotation"]
        assert said["filename"] == path.name
        assert (int(said["size"]["width"]), int(said["size"]["height"])) == own["size"]
        corners = [[int(thing["bndbox"][n]) for n in ("xmin", "ymin", "xmax", "ymax")] for thing in said["object"]]
        assert_boxes(np.array(corners) - [1, 1, 0, 0], own)
        assert {thing["name"] for thing in said["object"]} == {own["class"]}
        objects = np.array(Image.open(out / "SegmentationObject" / f"{path.stem}.png"))
        covered = np.zeros(objects.shape, bool)
        for number, mask in enumerate(own["masks"], start=1):
            np.testing.assert_array_equal(objects == number, mask & ~covered)
            covered |= mask
    assert seen == set(want)
    for split in {own["split"] for own in want.values()}:
        names = (out / "ImageSets" / "Main" / f"{split}.txt").read_text().splitlines()
        assert len(names) == len(of_split(want, split))
    by_voc_detection(out, of_split(want, "train"), tmp_path)
    read = sv.DetectionDataset.from_pascal_voc(str(out / "JPEGImages"), str(out / "Annotations"))
    found = {ids(Path(path)): annotation.xyxy for path, annotation in read.annotations.items()}
    assert found.keys() == want.keys()
    for image_id, boxes in found.items():
        assert_boxes(boxes, want[image_id])


@pytest.mark.parametrize("pictures", ["embed", "reference"])
def test_hugging_face_by_datasets(export, want, tmp_path, pictures):
    """Breaks when load_dataset needs more than the folder's name, or a picture or a class is another's."""
    datasets = pytest.importorskip("datasets")
    out = export("huggingface", "--images", pictures)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert set(read) == {own["split"] for own in want.values()}
    seen = set()
    for split in read.values():
        names = split.features["label"].names
        for row in split:
            own = want[row["image_id"]]
            seen.add(row["image_id"])
            assert names[row["label"]] == own["class"]
            assert (row["width"], row["height"]) == own["size"]
            found = row["objects"]
            assert_boxes([[x, y, x + w, y + h] for x, y, w, h in found["bbox"]], own, within=0.001)
            masks = [rle.decode({"size": own["size"][::-1], "counts": text.encode()}) for text in found["mask_counts"]]
            assert_masks(masks, own)
            if pictures == "embed":
                assert ImageOps.exif_transpose(row["image"]).size == own["size"]
            else:
                assert shown(Path(row["image_uri"])) == own["size"]
    assert seen == set(want)


@pytest.mark.parametrize("pictures", ["embed", "reference"])
def test_webdataset_by_itself(export, want, pictures):
    """Breaks when a sample's files are not found to belong together, or two samples have one name."""
    wds = pytest.importorskip("webdataset")
    out = export("webdataset", "--images", pictures)
    seen = set()
    for tar in out.glob("*.tar"):
        for sample in wds.WebDataset(str(tar), shardshuffle=False):
            said = json.loads(sample["json"])
            own = want[said["image_id"]]
            seen.add(said["image_id"])
            assert tar.name.startswith(own["split"])
            assert_boxes([[x, y, x + w, y + h] for x, y, w, h in (each["bbox"] for each in said["objects"])], own, 0)
            assert_masks([rle.decode(each["mask"]) for each in said["objects"]], own)
            (data,) = [value for name, value in sample.items() if name in ("jpg", "png")] or [None]
            if pictures == "embed":
                assert ImageOps.exif_transpose(Image.open(io.BytesIO(data))).size == own["size"]
            else:
                assert data is None
                assert Path(said["uri"]).is_file()
    assert seen == set(want)


def test_parquet_by_pandas(export, want):
    """Breaks when a row is lost between the parts of the table, or a column means something else."""
    table = pq.read_table(export("parquet") / "labels.parquet").to_pandas()
    assert set(table["image_id"]) == set(want)
    for image_id, rows in table.groupby("image_id"):
        own = want[image_id]
        np.testing.assert_array_equal(rows[["x0", "y0", "x1", "y1"]].to_numpy(), own["boxes"].astype(np.float32))
        assert rows["rank"].tolist() == list(range(len(own["boxes"])))
        masks = [rle.decode({"size": list(each["size"]), "counts": each["counts"].encode()}) for each in rows["mask"]]
        assert_masks(masks, own)
        assert set(rows["class"]) == {own["class"]}
        assert Path(rows["uri"].iloc[0]).is_file()


def test_label_studio_tasks(export, want):
    """Breaks when per cents are of another size, or a task points at nothing."""
    out = export("labelstudio", "--outlines", "polygon")
    seen = set()
    for path in out.glob("tasks_*.json"):
        for task in json.loads(path.read_text()):
            own = want[task["data"]["image_id"]]
            seen.add(task["data"]["image_id"])
            assert Path(task["data"]["image"]).is_file()
            ((prediction),) = task["predictions"]
            results = prediction["result"]
            values = [each["value"] for each in results if each["type"] == "rectanglelabels"]
            width, height = own["size"]
            scale = np.array([width, height, width, height]) / 100
            corners = [[v["x"], v["y"], v["x"] + v["width"], v["y"] + v["height"]] for v in values]
            assert_boxes(np.array(corners) * scale, own, within=0.001)
            drawn = []
            for each in results:
                if each["type"] == "polygonlabels":
                    points = np.array(each["value"]["points"]) * scale[:2]
                    mask = np.zeros((height, width), np.uint8)
                    cv2.fillPoly(mask, [points.astype(np.int32)], 1)
                    drawn.append(mask)
            assert_masks(drawn, own, POLYGON_IOU)
    assert seen == set(want)
    assert b'value="kitten"' in (out / "interface.xml").read_bytes()


def test_boxes_of_the_fixture_tell_their_masks_apart(want):
    """Breaks when the fixture could not show a swap."""
    many = next(own for own in want.values() if len(own["boxes"]) == 3)
    assert iou(many["boxes"][0], many["boxes"][1]) < HALF
