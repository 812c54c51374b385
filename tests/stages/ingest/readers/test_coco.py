import contextlib
import copy
import io
import json
import random
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO

from pipeline.base.errors import UsageError
from pipeline.store.files import Files
from stages.ingest.multi_label import class_by_area, half_open, total_area
from stages.ingest.readers.coco import CocoParams, CocoReader
from stages.ingest.readers.coco_file import parse_coco
from stages.vision.boxes import xyxy_to_xywh
from tests import runs
from tests.exports import coco_of
from tests.stages.ingest.readers.reading import in_memory

TRAIN, VAL = "annotations/instances_train2017.json", "annotations/instances_val2017.json"
CATEGORIES = [{"id": 18, "name": "dog", "supercategory": "animal"}, {"id": 3, "name": "car", "supercategory": "none"}]
DOG, CAR = 18, 3


def annotation(number, image, category, bbox, **more):
    """One annotation with an outline, as COCO has it."""
    outline = [[0.5, 1, 2, 3, 4, 5]]
    return {
        "id": number, "image_id": image, "category_id": category, "bbox": bbox,
        "iscrowd": 0, "area": 7.5, "segmentation": outline, **more,
    }  # fmt: skip


DOCUMENTS: dict[str, dict[str, Any]] = {
    TRAIN: {
        "info": {"year": 2017},
        "licenses": [],
        "categories": CATEGORIES,
        "images": [{"id": n, "file_name": f"{n:012d}.jpg", "width": 90, "height": 60} for n in (9, 25, 30, 34)],
        "annotations": [
            annotation(1, 9, DOG, [1.5, 2, 10, 20.25]),
            annotation(2, 9, DOG, [0, 0, 5, 5]),
            annotation(3, 9, CAR, [0, 0, 90, 60], iscrowd=1, segmentation={"counts": [1, 2], "size": [90, 60]}),
            annotation(4, 25, CAR, [0, 0, 30, 10]),
            annotation(5, 25, DOG, [0, 0, 15, 12]),
            annotation(6, 25, DOG, [9, 9, 15, 12]),
            annotation(7, 34, CAR, [3, 4, 5, 6]),
        ],
    },
    VAL: {
        "categories": CATEGORIES,
        "images": [{"id": 9, "file_name": "000000000139.jpg", "width": 90, "height": 60}],
        "annotations": [annotation(1, 9, CAR, [0, 0, 90, 60])],
    },
}


def write(root, documents, image=b"x"):
    """A copy of COCO's folders: annotation files, and the images of which they tell."""
    for path, document in documents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(json.dumps(document))
    for path, folder in ((TRAIN, "train2017"), (VAL, "val2017")):
        (root / folder).mkdir(exist_ok=True)
        for record in documents[path]["images"]:
            (root / folder / record["file_name"]).write_bytes(image)


def params(root, **more):
    """The parameters that fit what `write` makes."""
    given = {"train": TRAIN, "val": VAL, "train_images": "train2017", "val_images": "val2017", **more}
    return CocoParams(root=str(root), **given)


def scan(params):
    """What a run lists."""
    return CocoReader(params).scan()


def found(params):
    """Image id -> class, split, boxes."""
    return {i.image_id: (i.label_name, i.split, list(i.boxes)) for i in scan(params).images}


def test_the_public_layout(tmp_path):
    """Breaks when a split, a class or a box is read wrongly, or a number of the JSON becomes an image id."""
    write(tmp_path, DOCUMENTS)
    assert found(params(tmp_path)) == {
        "train2017/000000000009.jpg": ("dog", "train", [(1.5, 2, 11.5, 22.25), (0, 0, 5, 5)]),
        "train2017/000000000034.jpg": ("car", "train", [(3, 4, 8, 10)]),
        "val2017/000000000139.jpg": ("car", "val", [(0, 0, 90, 60)]),
    }
    listed = scan(params(tmp_path))
    assert listed.classes == ["car", "dog"]
    assert all(image.masks == () for image in listed.images)
    assert all(image.uri == image.image_id and image.stamp.startswith("1-") for image in listed.images)


def test_largest_takes_the_category_with_the_largest_total_area(tmp_path):
    """Breaks when one large box beats many, or boxes of the other category stay with the image."""
    write(tmp_path, DOCUMENTS)
    read = found(params(tmp_path, multi_label="largest"))
    assert read["train2017/000000000025.jpg"] == ("dog", "train", [(0, 0, 15, 12), (9, 9, 24, 21)])
    assert len(read) == 4, "the image without annotations has no class in either case"


@given(st.dictionaries(st.integers(1, 9), st.lists(st.tuples(*4 * [st.integers(1, 6)]), min_size=1, max_size=3)))
def test_the_choice_is_the_first_of_the_largest(boxes):
    """Breaks when a tie depends on the order of the file, or `skip` chooses among several."""
    total = {category: sum(w * h for _, _, w, h in own) for category, own in boxes.items()}
    assert {category: total_area(own) for category, own in boxes.items()} == total
    largest = sorted(category for category in total if total[category] == max(total.values()))
    assert class_by_area(total, "largest") == (largest[0] if largest else None)
    assert class_by_area(dict(reversed(total.items())), "largest") == class_by_area(total, "largest")
    assert class_by_area(total, "skip") == (next(iter(boxes)) if len(boxes) == 1 else None)


@given(st.tuples(*2 * [st.floats(-1e4, 1e4)], *2 * [st.floats(0.01, 1e4)]))
def test_a_box_comes_back_from_its_corners(box):
    """Breaks when width and height are taken for the far corner, or the far corner is taken as inclusive."""
    x0, y0, x1, y1 = half_open(box)
    assert x0 < x1
    assert y0 < y1
    assert (x0, y0) == box[:2]
    np.testing.assert_allclose(xyxy_to_xywh((x0, y0, x1, y1)), box, atol=1e-11)


def test_boxes_and_classes_are_those_that_pycocotools_reads(tmp_path):
    """Breaks when annotations go to another image or category than the reference reads."""
    rng = random.Random(4)
    document: dict[str, Any] = {
        "categories": [{"id": n, "name": f"class {n}"} for n in (90, 7, 1, 44)],
        "images": [{"id": n, "file_name": f"{n}.jpg"} for n in rng.sample(range(1000), 40)],
        "annotations": [],
    }
    for number in range(70):
        image, category = rng.choice(document["images"])["id"], rng.choice(document["categories"])["id"]
        bbox = [round(rng.uniform(0, 50), 2) for _ in range(2)] + [round(rng.uniform(1, 50), 2) for _ in range(2)]
        document["annotations"].append(annotation(number, image, category, bbox, iscrowd=int(rng.random() < 0.2)))
    write(tmp_path, {TRAIN: document, VAL: DOCUMENTS[VAL]})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / TRAIN))
    expected = {}
    for number, image in coco.imgs.items():
        own = coco.loadAnns(coco.getAnnIds(imgIds=[number], iscrowd=False))
        if len({one["category_id"] for one in own}) == 1:
            boxes = [(x, y, x + w, y + h) for x, y, w, h in (one["bbox"] for one in own)]
            name = coco.cats[own[0]["category_id"]]["name"]
            expected[f"train2017/{image['file_name']}"] = (name, "train", boxes)
    assert len(expected) > 10
    assert found(params(tmp_path, val=None)) == expected


def test_what_weakbox_exports_is_read_again(tmp_path):
    """Breaks when export and reader disagree about boxes, classes or the place of the images."""
    images = [
        {"image_id": f"train/{name}/a.jpg", "label": i, "label_name": name, "split": "train", "width": 9, "height": 9}
        for i, name in enumerate(("cat", "dog"))
    ]
    box = {"x0": 0.5, "y0": 1.0, "x1": 3.25, "y1": 7.0, "score": 1.0}
    rows = [{**image, "method": "cam", "boxes": [box], "masks": None, "flag": None} for image in images]
    exported = coco_of(images, rows)
    (tmp_path / "coco_train.json").write_text(json.dumps(exported["train"]))
    for image in images:
        path = tmp_path / image["image_id"]
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    assert found(CocoParams(root=str(tmp_path), train="coco_train.json")) == {
        "train/cat/a.jpg": ("cat", "train", [(0.5, 1, 3.25, 7)]),
        "train/dog/a.jpg": ("dog", "train", [(0.5, 1, 3.25, 7)]),
    }


def test_a_remote_root_reads_the_same(tmp_path):
    """Breaks when annotation files are opened as local files: the data may lie in a bucket."""
    write(tmp_path, DOCUMENTS)
    remote = params(in_memory(tmp_path, "coco-reader"))
    assert found(remote) == found(params(tmp_path))
    assert all(image.uri == image.image_id for image in scan(remote).images)
    with pytest.raises(UsageError, match=r"dataset: none.json: there is no such file"):
        scan(params("memory://coco-reader", train="none.json"))


def test_annotations_may_lie_elsewhere(tmp_path):
    """Breaks when annotations of one's own cannot be used on data that one may only read."""
    write(tmp_path / "data", DOCUMENTS)
    text = (tmp_path / "data" / TRAIN).read_bytes()
    (tmp_path / "data" / TRAIN).unlink()
    (tmp_path / "mine.json").write_bytes(text)
    Files("memory://coco-own").put("mine.json", text)
    for own in (str(tmp_path / "mine.json"), "memory://coco-own/mine.json"):
        assert len(found(params(tmp_path / "data", train=own))) == 3


def test_file_names_with_folders_need_no_option(tmp_path):
    """Breaks when one picture gets two ids because its name is written with a dot in front."""
    write(tmp_path, DOCUMENTS)
    document = copy.deepcopy(DOCUMENTS[TRAIN])
    for record in document["images"]:
        record["file_name"] = f"./train2017/{record['file_name']}"
    (tmp_path / TRAIN).write_text(json.dumps(document))
    assert found(params(tmp_path, train_images="")) == found(params(tmp_path, train_images="."))
    assert "train2017/000000000009.jpg" in found(params(tmp_path, train_images=""))


def change(path, value):
    """A change of the training document: the value at a path, or its removal (None)."""

    def apply(document):
        for key in path[:-1]:
            document = document[key]
        if value is None:
            del document[path[-1]]
        else:
            document[path[-1]] = value

    return apply


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["images"], None, "a list 'images' was expected"),
        (["annotations"], {}, "a list 'annotations' was expected"),
        (["categories"], None, "a list 'categories' was expected"),
        (["images", 1], 7, r"images\[1\] is no object"),
        (["images", 1, "id"], None, r"images\[1\] \(id None\): id is missing"),
        (["images", 1, "id"], 9, r"images\[1\] \(id 9\): the id or the file_name '000000000025.jpg' is there twice"),
        (["images", 1, "id"], "25", r"images\[1\] \(id '25'\): id must be an integer, not '25'"),
        (["images", 1, "id"], True, "id must be an integer, not True"),
        (["images", 1, "file_name"], None, r"images\[1\] \(id 25\): file_name is missing"),
        (["images", 1, "file_name"], "000000000009.jpg", r"\(id 25\): .* '000000000009.jpg' is there twice"),
        (["images", 1, "file_name"], "../000000000009.jpg", "'train2017/../000000000009.jpg' is not below the root"),
        (["images", 1, "file_name"], "/etc/passwd", "'/etc/passwd' is not below the root"),
        (["images", 0, "file_name"], "other.jpg", "no image 'train2017/other.jpg' below the root .train_images: 'tra"),
        (["categories", 0, "name"], None, r"categories\[0\] \(id 18\): name is missing"),
        (["categories", 0, "name"], "", r"categories\[0\] \(id 18\): name is missing"),
        (["categories", 0, "name"], ["dog"], "name must be a text"),
        (["categories", 1, "name"], "dog", r"categories\[1\] \(id 3\): the id or the name 'dog' is there twice"),
        (["categories", 1, "id"], 18, "the id or the name 'car' is there twice"),
        (["annotations", 0, "image_id"], None, r"annotations\[0\] \(id 1\): image_id is missing"),
        (["annotations", 0, "image_id"], 404, r"annotations\[0\] \(id 1\): there is no image 404"),
        (["annotations", 0, "category_id"], 404, r"annotations\[0\] \(id 1\): there is no category 404"),
        (["annotations", 0, "category_id"], [1], "category_id must be an integer"),
        (["annotations", 0, "iscrowd"], "no", "iscrowd must be 0 or 1, not 'no'"),
        (["annotations", 0, "bbox"], None, r"annotations\[0\] \(id 1\): bbox must be four numbers, not None"),
        (["annotations", 0, "bbox"], [1, 2, 3], "bbox must be four numbers"),
        (["annotations", 0, "bbox"], [1, 2, 3, "4"], "bbox must be four numbers"),
        (["annotations", 0, "bbox"], [1, 2, 3, float("nan")], r"\(id 1\): bbox must be finite, not \[1, 2, 3, nan\]"),
        (["annotations", 0, "bbox"], [1, 2, float("inf"), 4], "bbox must be finite"),
        (["annotations", 0, "bbox"], [1, 10**400, 3, 4], "bbox must be finite"),
        (["annotations", 0, "bbox"], [1, 2, 0, 4], r"\(id 1\): the box \[1, 2, 0, 4\] has no area"),
        (["annotations", 0, "bbox"], [1, 2, 3, -4], r"\(id 1\): the box \[1, 2, 3, -4\] has no area"),
        (["annotations"], [], "no image has a class; left out: 4 images without annotations, 0 of"),
    ],
)  # fmt: skip
def test_a_bad_record_is_one_line(tmp_path, path, value, words):
    """Breaks when damage gives a traceback or wrong boxes, or the line does not say where it is."""
    changed = copy.deepcopy(DOCUMENTS)
    write(tmp_path, changed)
    change(path, value)(changed[TRAIN])
    (tmp_path / TRAIN).write_text(json.dumps(changed[TRAIN]))
    with pytest.raises(UsageError, match=f"dataset: {TRAIN}: .*{words}") as caught:
        scan(params(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no JSON: "),
        ('{"images": [', "no JSON: "),
        ("[" * 100_000, "no JSON: "),
        ("[]", "an object with images, annotations and categories was expected"),
    ],
)
def test_a_file_of_something_else_is_one_line(tmp_path, text, words):
    """Breaks when a download that was cut, or another JSON, gives a traceback."""
    write(tmp_path, DOCUMENTS)
    (tmp_path / TRAIN).write_text(text)
    with pytest.raises(UsageError, match=f"dataset: {TRAIN}: {words}"):
        scan(params(tmp_path))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"train": None, "val": None}, "dataset: one of train, val and test must name an annotation file"),
        ({"train": "none.json"}, "dataset: none.json: there is no such file"),
        ({"train": "annotations"}, "dataset: annotations: .*directory"),
        ({"train": "nothing://a/b.json"}, "dataset: nothing://a/b.json: .*nothing"),
        ({"train_images": ""}, "no image '000000000009.jpg' below the root .train_images: ''"),
        ({"train_images": "../train2017"}, "is not below the root"),
    ],
)
def test_wrong_options_are_one_line(tmp_path, given, words):
    """Breaks when a typing mistake in the config gives a traceback or an empty data set."""
    write(tmp_path, DOCUMENTS)
    with pytest.raises(UsageError, match=words):
        scan(params(tmp_path, **given))


def test_an_image_of_two_splits_is_refused(tmp_path):
    """Breaks when training images are also those that are measured."""
    write(tmp_path / "data", DOCUMENTS)
    target = runs.target_of(config(tmp_path / "data", val=TRAIN, val_images="train2017"))
    with pytest.raises(UsageError, match="dataset: image id 'train2017/000000000009.jpg' twice"):
        runs.missing(target)


def test_a_missing_root_is_one_line(tmp_path):
    """Breaks when a wrong path gives a traceback."""
    with pytest.raises(UsageError, match=f"dataset: root {tmp_path}/none: No such file"):
        scan(params(tmp_path / "none"))


def test_boxes_without_area_can_be_left_out(tmp_path):
    """Breaks when COCO 2017 cannot be read because of its two boxes without height."""
    changed = copy.deepcopy(DOCUMENTS)
    changed[TRAIN]["annotations"] += [
        annotation(918, 34, DOG, [2, 3, 1.03, 0.0]),
        annotation(919, 30, DOG, [2, 3, 0, 1]),
    ]
    write(tmp_path, changed)
    with pytest.raises(UsageError, match=r"annotations\[7\] \(id 918\): .* no area .empty_boxes: skip"):
        scan(params(tmp_path))
    write(tmp_path, DOCUMENTS)
    expected = found(params(tmp_path))
    write(tmp_path, changed)
    assert found(params(tmp_path, empty_boxes="skip")) == expected, "they choose no class either"


def test_outlines_are_not_kept_while_the_file_is_parsed():
    """Breaks when the 450 MB of COCO's training file take 3 GB of memory to read instead of 1.4."""
    outline = [[0.5] * 1000]
    many = [annotation(n, 9, DOG, [0, 0, 1, 1], segmentation=outline) for n in range(300)]
    text = json.dumps({**DOCUMENTS[TRAIN], "annotations": many})
    tracemalloc.start()
    try:
        parse_coco(text, "dataset: a.json", skip_empty=False)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000, "the outlines alone are 300,000 numbers"
    finally:
        tracemalloc.stop()


def test_what_is_left_out_is_said(tmp_path, caplog):
    """Breaks when most of a data set is left out in silence."""
    write(tmp_path, DOCUMENTS)
    scan(params(tmp_path))
    (line,) = caplog.messages
    said = "2 images listed; left out: 1 images without annotations, 1 of several categories (multi_label)"
    assert line == f"dataset: {TRAIN}: {said}"


def config(root, **more):
    """The run config that fits what `write` makes."""
    dataset = {
        "reader": "coco", "root": str(root), "train": TRAIN, "val": VAL,
        "train_images": "train2017", "val_images": "val2017", "dev_fraction": 0.0, **more,
    }  # fmt: skip
    return {"run_root": str(root.parent / "run"), "dataset": dataset}


def test_a_run_ends_with_the_images_table(tmp_path):
    """Breaks when the catalog or the config does not know the reader, or the table lacks what the reader found."""
    buffer = io.BytesIO()
    Image.new("RGB", (90, 60)).save(buffer, "JPEG")
    write(tmp_path / "data", DOCUMENTS, buffer.getvalue())
    target = runs.target_of(config(tmp_path / "data"))
    assert list(runs.missing(target)) == ["ingest", "truth", "duplicates"]
    assert runs.execute(target) == {"ingest": 1, "truth": 1, "duplicates": 1}
    rows = {row["image_id"]: row for row in runs.rows(target, "ingest", "images")}
    assert {name: (row["label_name"], row["label"], row["split"]) for name, row in rows.items()} == {
        "train2017/000000000009.jpg": ("dog", 1, "train"),
        "train2017/000000000034.jpg": ("car", 0, "train"),
        "val2017/000000000139.jpg": ("car", 0, "val"),
    }
    assert runs.images(target)["train2017/000000000009.jpg"]["gt_boxes"] == [
        {"x0": 1.5, "y0": 2.0, "x1": 11.5, "y1": 22.25}, {"x0": 0.0, "y0": 0.0, "x1": 5.0, "y1": 5.0},
    ]  # fmt: skip
    assert all((row["width"], row["height"]) == (90, 60) for row in rows.values())
    assert runs.execute(target) == {}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"multi_label": "first"}, "dataset: multi_label must be one of skip, largest, not 'first'"),
        ({"trian": TRAIN}, "dataset: unknown key 'trian'.*train"),
        ({"train": [TRAIN]}, "dataset: train: "),
    ],
)
def test_the_config_is_checked(tmp_path, given, words):
    """Breaks when a misspelt option is taken for its default."""
    with pytest.raises(UsageError, match=words):
        runs.target_of(config(tmp_path, **given))
