import io
import logging
import shutil
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.datasets import VOCDetection

from pipeline.base.errors import UsageError
from pipeline.store.files import Files
from stages.ingest.readers.auto import AutoReader
from stages.ingest.readers.folder import FolderParams, FolderReader
from stages.ingest.readers.ilsvrc import IlsvrcReader
from stages.ingest.readers.voc import VocParams, VocReader
from stages.ingest.readers.voc_xml import half_open
from stages.ingest.recognition import Tree
from tests import runs
from tests.stages.ingest.readers.voc_replica import PERSON, annotation, write


def jpeg(width=500, height=375):
    """A picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "JPEG")
    return buffer.getvalue()


DEVKIT = "VOCdevkit/VOC2012"
OBJECTS: dict[str, list[tuple]] = {
    "2007_000027": [("person", 174, 101, 349, 351)],
    "2007_000032": [("aeroplane", 104, 78, 375, 183), ("aeroplane", 133, 88, 197, 123), ("person", 195, 180, 213, 229)],
    "2007_000033": [("aeroplane", 9, 107, 499, 263), ("aeroplane", 421, 200, 482, 226)],
    "2008_000002": [("tvmonitor", 34, 11, 448, 293)],
    "2008_000003": [("train", 1, 1, 500, 375), ("person", 46, 11, 500, 333, True)],
}
SETS = {
    "train": ["2007_000032", "2007_000033", "2008_008753"],
    "val": ["2007_000027", "2008_000002", "2008_000003"],
    "test": ["2008_000001"],
}


def published(image=b"x"):
    """VOC 2012 as its archive unpacks: XML, sets with one of a class, masks; images of test have no XML."""
    names = [name for split in SETS.values() for name in split]
    trainval = sorted(SETS["train"] + SETS["val"])
    aeroplanes = "".join(
        f"{name}{' 1' if name in ('2007_000032', '2007_000033') else ' -1'}\n" for name in SETS["train"]
    )
    files = {f"{DEVKIT}/JPEGImages/{name}.jpg": image for name in names}
    files |= {
        f"{DEVKIT}/Annotations/{name}.xml": annotation(f"{name}.jpg", own, folder="VOC2012")
        for name, own in OBJECTS.items()
    }
    files |= {f"{DEVKIT}/ImageSets/Main/{split}.txt": "\n".join(own) + "\n" for split, own in SETS.items()}
    return {
        **files,
        f"{DEVKIT}/Annotations/2008_008753.xml": PERSON,
        f"{DEVKIT}/ImageSets/Main/trainval.txt": "\n".join(trainval) + "\n",
        f"{DEVKIT}/ImageSets/Main/aeroplane_train.txt": aeroplanes,
        f"{DEVKIT}/ImageSets/Segmentation/train.txt": "2007_000032\n",
        f"{DEVKIT}/ImageSets/Layout/val.txt": "2008_000002 1\n",
        f"{DEVKIT}/SegmentationClass/2007_000032.png": b"x",
        f"{DEVKIT}/SegmentationObject/2007_000032.png": b"x",
    }


def scan(root, **more):
    """What a run lists."""
    return VocReader(VocParams(root=str(root), **more)).scan()


def found(root, **more):
    """Image id -> class, split, boxes."""
    return {i.image_id: (i.label_name, i.split, i.boxes) for i in scan(root, **more).images}


def recognised(root, *readers):
    """What the reader, and others, answer."""
    tree = Tree(str(root))
    return [reader.recognise(tree) for reader in (VocReader, *readers)]


def test_the_published_layout(tmp_path):
    """Breaks when a split, a class or a box is read wrongly, a mask becomes an image, or something is not said."""
    write(tmp_path, published())
    listed = scan(tmp_path)
    assert found(tmp_path) == {
        f"{DEVKIT}/JPEGImages/2007_000033.jpg": ("aeroplane", "train", [(8, 106, 499, 263), (420, 199, 482, 226)]),
        f"{DEVKIT}/JPEGImages/2008_008753.jpg": (
            "person", "train", [(44.70000076293945, 0, 292.20000076293945, 500)],
        ),
        f"{DEVKIT}/JPEGImages/2007_000027.jpg": ("person", "val", [(173, 100, 349, 351)]),
        f"{DEVKIT}/JPEGImages/2008_000002.jpg": ("tvmonitor", "val", [(33, 10, 448, 293)]),
    }  # fmt: skip
    assert listed.classes == ["aeroplane", "person", "tvmonitor"]
    assert listed.left_out == [
        f"2 images of several classes (multi_label) ({DEVKIT}/JPEGImages/2007_000032.jpg, ...)",
        f"1 images without an annotation ({DEVKIT}/JPEGImages/2008_000001.jpg)",
        f"2 pictures in folders of annotations or segmentations ({DEVKIT}/SegmentationClass/2007_000032.png, ...)",
        "3 files that are no images (3 .txt)",
    ]
    assert all(image.uri == image.image_id and image.stamp.startswith("1-") for image in listed.images)


@pytest.mark.parametrize("root", [".", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_the_published_layout_is_recognised(tmp_path, root):
    """Breaks when one of the three folders that people name as VOC's root is taken for class folders."""
    write(tmp_path, published())
    own, ilsvrc = recognised(tmp_path / root, IlsvrcReader)
    assert own is not None
    assert not own.missing
    assert ilsvrc is None
    assert len(scan(tmp_path / root).images) == 4
    folder = FolderReader(FolderParams(root=str(tmp_path / root)))
    folder.among([VocReader])
    with pytest.raises(UsageError, match="this is the layout of reader voc"):
        folder.scan()


@pytest.mark.parametrize("split", ["train", "val"])
def test_objects_are_those_that_torchvision_reads(tmp_path, split):
    """Breaks when names, corners or splits differ from another program's; its corners are as written, from 1."""
    write(tmp_path, published(jpeg()))
    for _, target in (VOCDetection(str(tmp_path), year="2012", image_set=split)[n] for n in range(len(SETS[split]))):
        document = target["annotation"]
        objects = [
            (each["name"], tuple(float(each["bndbox"][key]) for key in ("xmin", "ymin", "xmax", "ymax")))
            for each in document["object"]
        ]
        path = f"{DEVKIT}/JPEGImages/{document['filename']}"
        label, own, boxes = found(tmp_path, multi_label="largest")[path]
        assert own == split
        assert boxes == [(x0 - 1, y0 - 1, x1, y1) for name, (x0, y0, x1, y1) in objects if name == label]
        areas = {
            name: sum((b[2] - b[0] + 1) * (b[3] - b[1] + 1) for n, b in objects if n == name) for name, _ in objects
        }
        assert areas[label] == max(areas.values())


def test_difficult_objects_can_be_left_out(tmp_path):
    """Breaks when they still choose the class or become boxes, or go unsaid."""
    write(tmp_path, published())
    path = f"{DEVKIT}/JPEGImages/2008_000003.jpg"
    assert path not in found(tmp_path)
    assert found(tmp_path, difficult="skip")[path] == ("train", "val", [(0, 0, 500, 375)])
    assert (
        f"2 difficult objects ({DEVKIT}/Annotations/2008_000003.xml, ...)" in scan(tmp_path, difficult="skip").left_out
    )


def test_sets_that_say_trainval_alone_and_images_in_none(tmp_path):
    """Breaks when images of trainval have no split, or those that no list names are taken into train."""
    files = published()
    for name in ("train", "val"):
        del files[f"{DEVKIT}/ImageSets/Main/{name}.txt"]
    files[f"{DEVKIT}/ImageSets/Main/trainval.txt"] = "2007_000027\r\n2007_000033\r\n"
    write(tmp_path, files)
    assert {name.rsplit("/", 1)[-1]: split for name, (_, split, _) in found(tmp_path).items()} == {
        "2007_000027.jpg": "train",
        "2007_000033.jpg": "train",
    }
    assert any(line.startswith("4 images that no list of ImageSets/Main names") for line in scan(tmp_path).left_out)


def test_two_years_keep_their_own_sets(tmp_path):
    """Breaks when the same name in VOC 2007 and VOC 2012 shares annotation or split."""
    write(tmp_path, published())
    other = "VOCdevkit/VOC2007"
    write(tmp_path, {
        f"{other}/JPEGImages/2007_000027.jpg": "x",
        f"{other}/Annotations/2007_000027.xml": annotation("2007_000027.jpg", [("dog", 1, 1, 1, 1)]),
        f"{other}/ImageSets/Main/test.txt": "2007_000027\n",
    })  # fmt: skip
    read = found(tmp_path)
    assert read[f"{other}/JPEGImages/2007_000027.jpg"] == ("dog", "test", [(0, 0, 1, 1)])
    assert read[f"{DEVKIT}/JPEGImages/2007_000027.jpg"][:2] == ("person", "val")


def test_an_image_in_two_sets_is_refused(tmp_path):
    """Breaks when training images are also those that are measured."""
    write(tmp_path, {**published(), f"{DEVKIT}/ImageSets/Main/val.txt": "2007_000033\n"})
    with pytest.raises(UsageError, match=r"ImageSets/Main/val.txt: '2007_000033' is also in train.txt"):
        scan(tmp_path)


LOOSE = {
    "images/cat-1.jpg": "x",
    "images/cat-2.png": "x",
    "images/cat-2.jpg": "x",
    "images/Émile.JPG": "x",
    "images/none.jpg": "x",
    "images/empty.jpg": "x",
    "annotations/cat-1.xml": annotation("dog-9.jpg", [("cat", 1, 1, 10, 10)]),
    "annotations/cat-2.xml": annotation("C:\\photos\\cat-2.png", [("cat", 1, 1, 20, 20)]),
    "annotations/E\u0301mile.xml": annotation("%s", [("dog", 1, 1, 30, 30), ("dog", 5, 5, 6, 6)]),
    "annotations/empty.xml": annotation("empty.jpg"),
    "annotations/lost.xml": annotation("lost.jpg", [("cat", 1, 1, 2, 2)]),
    "annotations/7.xml": annotation("photo.of.a.dog.jpeg", [("dog", 1, 1, 40, 40)]),
    "images/photo.of.a.dog.jpeg": "x",
    "labelmap.txt": "cat\ndog\n",
}


def test_loose_images_go_by_the_name_of_the_annotation_then_by_what_it_names(tmp_path, caplog):
    """Breaks when `<filename>` beats the file's own name, or what matches nothing vanishes."""
    write(tmp_path, LOOSE)
    caplog.set_level(logging.INFO, "weakbox.ingest")
    assert found(tmp_path) == {
        "images/cat-1.jpg": ("cat", "train", [(0, 0, 10, 10)]),
        "images/cat-2.png": ("cat", "train", [(0, 0, 20, 20)]),
        "images/Émile.JPG": ("dog", "train", [(0, 0, 30, 30), (4, 4, 6, 6)]),
        "images/photo.of.a.dog.jpeg": ("dog", "train", [(0, 0, 40, 40)]),
    }
    assert sorted(scan(tmp_path).left_out) == [
        "1 annotations whose image is absent, is ambiguous, or has another annotation (annotations/lost.xml)",
        "1 files that are no images (1 .txt)",
        "1 images whose annotation has no object (images/empty.jpg)",
        "2 images without an annotation (images/cat-2.jpg, ...)",
    ]
    assert "1 annotations matched to an image by `filename`, not by their own name (annotations/7.xml)" in caplog.text
    assert "2 annotations matched to an image by their own name, not by `filename`" in caplog.text


def test_annotations_beside_images_in_folders_of_splits(tmp_path):
    """Breaks when an export of Roboflow (train, valid, test, XML in each) gets other splits or mixes up names."""
    write(tmp_path, {
        f"{split}/{name}": content
        for n, split in enumerate(("train", "valid", "test"))
        for name, content in (("1_jpg.rf.0a.jpg", "x"), ("1_jpg.rf.0a.xml", annotation("", [("cat", 1, 1, 5 + n, 5)])))
    })  # fmt: skip
    assert recognised(tmp_path)[0] is not None
    assert found(tmp_path) == {
        "train/1_jpg.rf.0a.jpg": ("cat", "train", [(0, 0, 5, 5)]),
        "valid/1_jpg.rf.0a.jpg": ("cat", "val", [(0, 0, 6, 5)]),
        "test/1_jpg.rf.0a.jpg": ("cat", "test", [(0, 0, 7, 5)]),
    }
    write(tmp_path, {"more/2.jpg": "x"})
    with pytest.raises(UsageError, match="more/2.jpg is outside of the folders of the splits"):
        scan(tmp_path)


def test_dogs_of_stanford_and_pets_of_oxford(tmp_path):
    """Breaks when annotations without an ending are not found, or trimaps, of the images' names, become images."""
    dogs = "n02085620-Chihuahua"
    write(tmp_path / "dogs", {
        f"Images/{dogs}/n02085620_10074.jpg": "x",
        f"Annotation/{dogs}/n02085620_10074": annotation("%s", [("Chihuahua", 25, 10, 276, 498)], folder="%s"),
    })  # fmt: skip
    assert recognised(tmp_path / "dogs")[0] is not None
    dog = f"Images/{dogs}/n02085620_10074.jpg"
    assert found(tmp_path / "dogs") == {dog: ("Chihuahua", "train", [(24, 9, 276, 498)])}
    assert found(tmp_path / "dogs", label_by="folder")[dog][0] == dogs
    write(tmp_path / "pets", {
        "images/Abyssinian_100.jpg": "x",
        "images/great_pyrenees_12.jpg": "x",
        "annotations/trimaps/Abyssinian_100.png": "x",
        "annotations/xmls/Abyssinian_100.xml": annotation("Abyssinian_100.jpg", [("cat", 151, 71, 335, 267)]),
        "annotations/trainval.txt": "Abyssinian_100 1 1 1\n",
    })  # fmt: skip
    assert recognised(tmp_path / "pets")[0] is not None
    assert found(tmp_path / "pets", label_by="file_name") == {
        "images/Abyssinian_100.jpg": ("Abyssinian", "train", [(150, 70, 335, 267)]),
        "images/great_pyrenees_12.jpg": ("great_pyrenees", "train", None),
    }


def test_names_that_tell_no_class(tmp_path):
    """Breaks when a number, or the folder `images`, becomes the class of an image."""
    write(tmp_path, {"images/12.jpg": "x", "images/cat/cat3.jpg": "x", "annotations/12.xml": annotation("12")})
    assert found(tmp_path, label_by="folder") == {"images/cat/cat3.jpg": ("cat", "train", None)}
    assert found(tmp_path, label_by="file_name") == {"images/cat/cat3.jpg": ("cat", "train", None)}
    for choice in ("folder", "file_name"):
        said = scan(tmp_path, label_by=choice).left_out
        assert f"1 images whose {choice} tells no class (images/12.jpg)" in said


@given(st.tuples(*2 * [st.integers(1, 500)]), st.tuples(*2 * [st.integers(0, 500)]))
def test_pixels_that_a_box_covers(first, extent):
    """Breaks when the far corner, which is inside, is cut off, or the first pixel is not 0."""
    (x, y), (wide, high) = first, extent
    x0, y0, x1, y1 = half_open((x, y, x + wide, y + high), VocParams().corners)
    assert (x0, y0) == (x - 1, y - 1)
    assert (x1 - x0) * (y1 - y0) == (wide + 1) * (high + 1)


@pytest.mark.parametrize("corner", [(0, 5, 9, 9), (5, 0, 9, 9), (0.5, 5, 9, 9)])
def test_corners_that_count_from_0_are_refused_with_what_to_say(tmp_path, corner):
    """Breaks when boxes of a set that counts from 0 are a pixel off in silence."""
    write(tmp_path, {"images/a.jpg": "x", "annotations/a.xml": annotation("a.jpg", [("cat", *corner)])})
    with pytest.raises(UsageError, match=r"^dataset: annotations/a.xml: object 1 \(cat\): .*VOC counts.*zero_based"):
        scan(tmp_path)
    x0, y0, x1, y1 = corner
    assert found(tmp_path, corners="zero_based")["images/a.jpg"][2] == [(x0, y0, x1 + 1, y1 + 1)]
    assert found(tmp_path, corners="half_open")["images/a.jpg"][2] == [(x0, y0, x1, y1)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("<annotation>", "annotations/cat-1.xml: no XML"),
        (annotation("a", [("cat", 9, 9, 5, 20)]), r"cat-1.xml: object 1 \(cat\): its box 9 9 5 20 has no area"),
        (annotation("a", [("cat", 1, 1, "x", 5)]), r"cat-1.xml: object 1 \(cat\): xmax must be a number"),
        ("<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><annotation>&b;</annotation>", "cat-1.xml: a DTD or"),
    ],
)
def test_bad_annotations_are_one_line(tmp_path, content, words):
    """Breaks when a damaged or hostile annotation is guessed at, or gives a traceback."""
    write(tmp_path, {**LOOSE, "annotations/cat-1.xml": content})
    with pytest.raises(UsageError, match=f"^dataset: .*{words}"):
        scan(tmp_path)


@pytest.mark.parametrize("xml", ["<annotation/>", annotation("a.jpg")])
def test_annotations_without_any_object_end_in_one_line(tmp_path, xml):
    """Breaks when such a set becomes one class `images`, or its images vanish."""
    write(
        tmp_path,
        {f"images/{n:03d}.jpg": jpeg() for n in range(3)} | {f"annotations/{n:03d}.xml": xml for n in range(3)},
    )
    folder = FolderReader(FolderParams(root=str(tmp_path)))
    folder.among([VocReader])
    with pytest.raises(UsageError, match="this is the layout of reader voc"):
        folder.scan()
    words = f"^dataset: root {tmp_path}: no image has a class: 3 images whose annotation has no object .images/000.jpg"
    with pytest.raises(UsageError, match=words):
        scan(tmp_path)


def test_other_layouts_are_not_recognised(tmp_path):
    """Breaks when class folders, COCO's files, DAVIS' masks or ILSVRC are taken from their readers."""
    layouts = {
        "folders": {"cat/1.jpg": "x", "cat/1.xml": annotation("1", [("cat", 1, 1, 2, 2)]), "dog/2.jpg": "x"},
        "splits": {"train/cat/1.jpg": "x", "train/cat/1.xml": annotation("1"), "test/cat/2.jpg": "x"},
        "other": {"cat/1.jpg": "x", "annotations/0.xml": "<a/>"},
        "coco": {"annotations/instances_train2017.json": "{}", "train2017/1.jpg": "x"},
        "alone": {"metadata.xml": annotation("1"), "cat/1.jpg": "x"},
        "ilsvrc": {
            "val/ILSVRC2012_val_00000001.JPEG": "x",
            "Annotations/val/ILSVRC2012_val_00000001.xml": annotation("1", database="ILSVRC_2012"),
        },
    }
    for name, files in layouts.items():
        write(tmp_path / name, files)
        assert recognised(tmp_path / name) == [None], name
    write(tmp_path / "davis", {"JPEGImages/480p/bear/0.jpg": "x", "Annotations/480p/bear/0.png": "x"})
    (match,) = recognised(tmp_path / "davis")
    assert match is not None
    assert match.missing == "Annotations/*.xml"


def test_a_remote_root_reads_the_same(tmp_path):
    """Breaks when something is opened as a local file: the data may lie in a bucket."""
    files = Files("memory://voc")
    for path, content in published().items():
        files.put(path, content if isinstance(content, bytes) else content.encode())
    write(tmp_path, published())
    assert found("memory://voc") == found(tmp_path)
    assert scan("memory://voc").left_out == scan(tmp_path).left_out
    assert recognised("memory://voc") == recognised(tmp_path)


def test_one_odd_image_is_a_row(tmp_path):
    """Breaks when a link to nothing ends the run instead of becoming a quarantined row."""
    write(tmp_path, LOOSE)
    (tmp_path / "images/cat-1.jpg").unlink()
    (tmp_path / "images/cat-1.jpg").symlink_to("nothing")
    troubles = {image.image_id: image.trouble for image in scan(tmp_path).images if image.trouble}
    assert troubles == {"images/cat-1.jpg": "a link to nothing"}


def test_a_missing_root_is_one_line(tmp_path):
    """Breaks when a wrong path gives a traceback."""
    with pytest.raises(UsageError, match=f"dataset: root {tmp_path}/none: No such file"):
        scan(tmp_path / "none")


def test_raccoons(data_root, tmp_path):
    """Breaks when real photographs, annotated by hand, lose one of their boxes, or one leaves its picture."""
    with tarfile.open(data_root / "raccoon.tar.gz") as tar:
        tar.extractall(tmp_path, filter="data")
    root = tmp_path / "raccoon"
    listed = scan(root)
    assert (listed.classes, len(listed.images), sum(len(i.boxes) for i in listed.images)) == (["raccoon"], 200, 217)
    assert listed.left_out == ["1 files that are no images (1 LICENSE)"]
    for image in listed.images:
        with Image.open(root / image.image_id) as picture:
            assert all(
                0 <= x0 < x1 <= picture.width and 0 <= y0 < y1 <= picture.height for x0, y0, x1, y1 in image.boxes
            )
    assert found(root, label_by="file_name") == found(root)
    reader = AutoReader(AutoReader.Params(root=str(root)))
    reader.among([AutoReader, IlsvrcReader, VocReader, FolderReader])
    assert len(reader.scan().images) == 200
    shutil.rmtree(root)


def test_a_run_ends_with_the_images_table(tmp_path):
    """Breaks when the catalog or the config does not know the reader, or the table lacks what the reader found."""
    write(tmp_path / "data", published(jpeg()))
    dataset = {"reader": "voc", "root": str(tmp_path / "data"), "multi_label": "largest", "dev_fraction": 0.0}
    target = runs.target_of({"run_root": str(tmp_path / "run"), "dataset": dataset})
    computed = runs.execute(target)
    assert (computed["ingest"], computed["truth"]) == (1, 1)
    row = runs.images(target, "train")[f"{DEVKIT}/JPEGImages/2007_000032.jpg"]
    assert (row["label_name"], row["width"], row["height"]) == ("aeroplane", 500, 375)
    assert row["gt_boxes"] == [
        {"x0": 103.0, "y0": 77.0, "x1": 375.0, "y1": 183.0}, {"x0": 132.0, "y0": 87.0, "x1": 197.0, "y1": 123.0},
    ]  # fmt: skip
    assert len(runs.images(target)) == 6
    assert runs.execute(target) == {}
