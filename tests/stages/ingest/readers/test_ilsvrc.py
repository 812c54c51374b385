import io
import tarfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import imagenet

from pipeline.base.errors import UsageError
from pipeline.store.files import Files
from stages.ingest.readers.auto import AutoReader
from stages.ingest.readers.folder import FolderParams, FolderReader
from stages.ingest.readers.ilsvrc import IlsvrcParams, IlsvrcReader
from stages.ingest.readers.tiny_imagenet import TinyImagenetReader
from stages.ingest.readers.voc import VocReader
from stages.ingest.recognition import Tree
from stages.ingest.scan import is_dev
from stages.scoring.foreign.metadata_folder import read_metadata
from tests import runs
from tests.stages.ingest.readers.voc_replica import annotation, write

scipy_io = pytest.importorskip("scipy.io")

TENCH, SPANIEL, BUTTERFLY = "n01440764", "n02102040", "n02281787"
TRAIN = [f"{wnid}/{wnid}_{n}" for wnid, n in ((TENCH, 96), (TENCH, 10026), (SPANIEL, 2), (BUTTERFLY, 7))]
VAL = {"ILSVRC2012_val_00000001": SPANIEL, "ILSVRC2012_val_00000002": TENCH, "ILSVRC2012_val_00000003": SPANIEL}
BOXES = {
    "ILSVRC2012_val_00000001": [(0, 0, 499, 374)],
    "ILSVRC2012_val_00000002": [(163, 200, 246, 269), (147, 43, 409, 329)],
    "ILSVRC2012_val_00000003": [(10, 20, 10, 20)],
}
"""Corners as they are written, both inside; the last is a single pixel."""
INNER = {
    "ILSVRC2012_val_00000001": [(0, 0, 500, 375)],
    "ILSVRC2012_val_00000002": [(163, 200, 247, 270), (147, 43, 410, 330)],
    "ILSVRC2012_val_00000003": [(10, 20, 11, 21)],
}
TRAIN_BOX, INNER_TRAIN = (34, 128, 430, 305), (34, 128, 431, 306)


def images(base="", train="train", val="val", sort=False):
    """Image files, of train in class folders, of val flat or sorted."""
    found = {f"{base}{train}/{name}.JPEG": b"x" for name in TRAIN}
    for name, wnid in VAL.items():
        found[f"{base}{val}/{wnid}/{name}.JPEG" if sort else f"{base}{val}/{name}.JPEG"] = b"x"
    return found


def of_val(name, objects):
    """An annotation of a validation image as published: `<filename>` has no ending, `<folder>` is val."""
    return annotation(name, objects, folder="val", database="ILSVRC_2012")


def val_xml(folder):
    """The annotations of val as published."""
    return {f"{folder}/{name}.xml": of_val(name, [(wnid, *box) for box in BOXES[name]]) for name, wnid in VAL.items()}


def train_xml(folder):
    """An annotation of each training image but the last, as published: `<folder>` is the wnid."""
    return {
        f"{folder}/{name}.xml": annotation(
            name.split("/")[1], [(name.split("/")[0], *TRAIN_BOX)], folder=name.split("/")[0], database="ILSVRC_2012"
        )
        for name in TRAIN[:-1]
    }


def kaggle():
    """The root of Kaggle's imagenet-object-localization-challenge; a prediction string ends with a space."""
    base, notes = "ILSVRC/Data/CLS-LOC/", "ILSVRC/Annotations/CLS-LOC"
    rows = {
        name: " ".join(f"{wnid} {x0} {y0} {x1} {y1}" for x0, y0, x1, y1 in BOXES[name]) for name, wnid in VAL.items()
    }
    solution = "ImageId,PredictionString\n" + "".join(f"{name},{rows[name]} \n" for name in sorted(rows, reverse=True))
    trained = "".join(f"{n.split('/')[1]},{n.split('/')[0]} 34 128 430 305 \n" for n in TRAIN[:-1])
    return {
        **images(base),
        **{f"{base}test/ILSVRC2012_test_{n:08d}.JPEG": b"x" for n in (1, 2)},
        **val_xml(f"{notes}/val"),
        **train_xml(f"{notes}/train"),
        "ILSVRC/ImageSets/CLS-LOC/val.txt": "ILSVRC2012_val_00000001 1\n",
        "ILSVRC/ImageSets/CLS-LOC/train_cls.txt": "n01440764/n01440764_10026 1\n",
        "LOC_val_solution.csv": solution,
        "LOC_train_solution.csv": "ImageId,PredictionString\n" + trained,
        "LOC_sample_submission.csv": "ImageId,PredictionString\nILSVRC2012_test_00000001,1 0 0 0 0\n",
        "LOC_synset_mapping.txt": "n01440764 tench, Tinca tinca\nn02102040 English springer\n",
    }


def published():
    """The archives of image-net.org, each unpacked in a folder of its name, with annotations of another collection."""
    other = annotation("ILSVRC2012_val_00000001", [("n07739125", 1, 1, 2, 2)], folder="val", database="ILSVRC_2013")
    return {
        **images("", "ILSVRC2012_img_train", "ILSVRC2012_img_val"),
        "ILSVRC2012_img_test/ILSVRC2012_test_00000001.JPEG": b"x",
        **val_xml("ILSVRC2012_bbox_val_v3/val"),
        **train_xml("ILSVRC2012_bbox_train_v2"),
        "ILSVRC2013_bbox/DET/val/ILSVRC2012_val_00000001.xml": other,
    }


def devkit():
    """The devkit of task 1 and 2: numbers of classes that are not the order of the wnids, inner nodes behind them."""
    names = (
        "ILSVRC2012_ID",
        "WNID",
        "words",
        "gloss",
        "num_children",
        "children",
        "wordnet_height",
        "num_train_images",
    )
    classes = [(1, BUTTERFLY, 0), (2, SPANIEL, 0), (3, TENCH, 0), (4, "n00004258", 2)]
    rows = [
        (n, wnid, "words, more", "a gloss", children, np.arange(children, dtype=float), 0.0, 1300.0)
        for n, wnid, children in classes
    ]
    synsets = np.array([rows], dtype=[(name, object) for name in names]).T
    meta = io.BytesIO()
    scipy_io.savemat(meta, {"synsets": synsets}, do_compression=True)
    return {
        "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt": "2\n3\n2\n",
        "ILSVRC2012_devkit_t12/data/meta.mat": meta.getvalue(),
        "ILSVRC2012_devkit_t12/readme.txt": "",
    }


LAYOUTS = {
    "kaggle": kaggle(),
    "published": published(),
    "plain": {**images(), **val_xml("Annotations/val"), **train_xml("Annotations/train")},
    "beside": {**images(), **val_xml("val")},
    "sorted": {**images(sort=True), **val_xml("bbox/val")},
    "devkit": {**images(), **devkit()},
}


def scan(root, **more):
    """What a run lists."""
    return IlsvrcReader(IlsvrcParams(root=str(root), **more)).scan()


def by_name(listed, split):
    """Name of an image without folders and ending -> class, boxes."""
    found = {image.image_id.rsplit("/", 1)[-1].removesuffix(".JPEG"): image for image in listed if image.split == split}
    return {name: (image.label_name, image.boxes) for name, image in found.items()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_classes_and_boxes_of_val(tmp_path, layout):
    """Breaks when a layout's classes are read wrongly, or inclusive corners are not made half-open exactly once."""
    write(tmp_path, LAYOUTS[layout])
    listed = scan(tmp_path)
    boxes = dict.fromkeys(VAL) if layout == "devkit" else INNER
    assert by_name(listed.images, "val") == {name: (wnid, boxes[name]) for name, wnid in VAL.items()}
    assert {name: label for name, (label, _) in by_name(listed.images, "train").items()} == {
        name.split("/")[1]: name.split("/")[0] for name in TRAIN
    }
    assert listed.classes == [TENCH, SPANIEL, BUTTERFLY]
    assert len(listed.images) == len(TRAIN) + len(VAL), "no image of test, none twice"
    assert all((tmp_path / image.image_id).is_file() and image.uri == image.image_id for image in listed.images)
    assert all(image.stamp.startswith("1-") for image in listed.images)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layouts_are_recognised(tmp_path, layout):
    """Breaks when one of these roots becomes a class folder set: Kaggle's was one class ILSVRC."""
    write(tmp_path, LAYOUTS[layout])
    tree = Tree(str(tmp_path))
    match = IlsvrcReader.recognise(tree)
    assert match is not None
    assert not match.missing
    assert VocReader.recognise(tree) is TinyImagenetReader.recognise(tree) is None
    folder = FolderReader(FolderParams(root=str(tmp_path)))
    folder.among([IlsvrcReader])
    with pytest.raises(UsageError, match="this is the layout of reader ilsvrc"):
        folder.scan()


def test_other_layouts_are_not_recognised(tmp_path):
    """Breaks when class folders that happen to be named as synsets, or Tiny ImageNet, are taken from their readers."""
    write(tmp_path / "folders", images(sort=True))
    assert IlsvrcReader.recognise(Tree(str(tmp_path / "folders"))) is None
    write(tmp_path / "cats", {"train/cat/1.jpg": "x", "val/1.jpg": "x", "Annotations/1.xml": annotation("1")})
    assert IlsvrcReader.recognise(Tree(str(tmp_path / "cats"))) is None
    tiny = {f"train/{TENCH}/images/a.JPEG": "x", f"train/{TENCH}/{TENCH}_boxes.txt": "", "val/val_annotations.txt": ""}
    write(tmp_path / "tiny", tiny)
    assert IlsvrcReader.recognise(Tree(str(tmp_path / "tiny"))) is None


def test_a_flat_val_without_classes_is_told_what_lacks(tmp_path):
    """Breaks when images without classes vanish, or `auto` cannot say what to add."""
    write(tmp_path, images())
    match = IlsvrcReader.recognise(Tree(str(tmp_path)))
    assert match is not None
    assert "LOC_val_solution.csv" in match.missing
    with pytest.raises(UsageError, match=r"nothing says the classes of val \(LOC_val_solution.csv.*: 3 images of val"):
        scan(tmp_path)
    write(tmp_path, train_xml("Annotations/train"))
    with pytest.raises(UsageError, match="nothing says the classes of val"):
        scan(tmp_path)
    assert IlsvrcReader.recognise(Tree(str(tmp_path))) == match, "annotations of train do not help val"


def test_recognising_lists_few_folders(tmp_path):
    """Breaks when looking at a root lists the class folders of train one by one: a bucket answers 30 times a second."""
    many = {f"train/n{n:08d}/n{n:08d}_1.JPEG": "x" for n in range(60)}
    write(tmp_path, {**LAYOUTS["kaggle"], **{f"ILSVRC/Data/CLS-LOC/{path}": image for path, image in many.items()}})
    tree = Tree(str(tmp_path))
    assert IlsvrcReader.recognise(tree)
    assert len(tree._known) <= 20


def test_train_boxes_are_those_of_dev(tmp_path):
    """Breaks when half a million files are read though none is asked for, or those of dev are not."""
    files = {**LAYOUTS["plain"], "Annotations/train/n02102040/n02102040_2.xml": "no XML"}
    write(tmp_path, files)
    names = [f"train/{name}.JPEG" for name in TRAIN]
    fraction = next(f / 100 for f in range(1, 100) if [is_dev(name, f / 100) for name in names].count(True) == 2)
    dev = {name for name in names if is_dev(name, fraction) and "n02102040" not in name}
    listed = scan(tmp_path, train_boxes="none").images
    assert all(image.boxes is None for image in listed if image.split == "train")
    (tmp_path / "Annotations/train/n02102040/n02102040_2.xml").write_text(
        LAYOUTS["plain"]["Annotations/train/n02102040/n02102040_2.xml"]
    )
    assert dev
    for choice, wanted in (("dev", {name for name in names if is_dev(name, fraction)}), ("all", set(names))):
        found = {
            image.image_id: image.boxes for image in scan(tmp_path, train_boxes=choice, dev_fraction=fraction).images
        }
        assert {name for name in names if found[name]} == wanted - {f"train/{TRAIN[-1]}.JPEG"}
        assert all(found[name] in (None, [INNER_TRAIN]) for name in names)


@pytest.mark.parametrize("layout", ["kaggle", "published"])
def test_boxes_of_train_by_table_and_by_xml(tmp_path, layout):
    """Breaks when Kaggle's table of train gives other boxes than the annotations."""
    write(tmp_path, LAYOUTS[layout])
    found = by_name(scan(tmp_path, train_boxes="all").images, "train")
    expected = {name.split("/")[1]: (name.split("/")[0], [INNER_TRAIN]) for name in TRAIN}
    assert found == {**expected, "n02281787_7": (BUTTERFLY, None)}


def test_useless_boxes_of_train_are_counted(tmp_path):
    """Breaks when crossed corners and boxes outside of their image, which train has as published, end the run."""
    odd = [(TENCH, 9, 9, 3, 20), (TENCH, 400, 300, 900, 700), (TENCH, -3, 0, 505, 374), ("n02102040", 1, 1, 5, 5)]
    path = f"Annotations/train/{TRAIN[0]}.xml"
    write(tmp_path, {**LAYOUTS["plain"], path: annotation(TRAIN[0].split("/")[1], odd)})
    listed = scan(tmp_path, train_boxes="all")
    assert by_name(listed.images, "train")["n01440764_96"] == (TENCH, [(-3, 0, 506, 375)])
    assert (
        "2 boxes that have no area, or lie outside of their image by more than half (n01440764_96, ...)"
        in listed.left_out
    )
    assert "1 boxes of another class than their image (n01440764_96)" in listed.left_out


def test_what_is_left_out_is_said(tmp_path):
    """Breaks when test images, images without annotation, and files elsewhere vanish in silence."""
    more = {
        "ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000009.JPEG": "x",
        "ILSVRC/Data/CLS-LOC/train/ILSVRC2012_odd.JPEG": "x",
        "ILSVRC/Data/CLS-LOC/train/cat/1.JPEG": "x",
    }
    write(tmp_path, {**LAYOUTS["kaggle"], **more})
    assert scan(tmp_path).left_out == [
        "6 annotations not read: of other images (train_boxes), or in a table too"
        " (ILSVRC/Annotations/CLS-LOC/train/n01440764/n01440764_10026.xml, ...)",
        "2 images of test, which have no classes (ILSVRC/Data/CLS-LOC/test/ILSVRC2012_test_00000001.JPEG, ...)",
        "1 files of train that are in no class folder (ILSVRC/Data/CLS-LOC/train/ILSVRC2012_odd.JPEG)",
        "1 images of val without an annotation (ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000009.JPEG)",
        "1 images outside of train/<wnid> and val (ILSVRC/Data/CLS-LOC/train/cat/1.JPEG)",
        "4 files that are no images (3 .txt, 1 .csv)",
    ]


def test_an_annotation_of_several_classes_or_none(tmp_path):
    """Breaks when an image gets one of several classes by chance; with a devkit it has the devkit's."""
    odd = {
        "Annotations/val/ILSVRC2012_val_00000001.xml": annotation("a", [(TENCH, 0, 0, 9, 9), (SPANIEL, 0, 0, 5, 5)]),
        "Annotations/val/ILSVRC2012_val_00000003.xml": annotation("a"),
    }
    write(tmp_path, {**LAYOUTS["plain"], **odd})
    listed = scan(tmp_path)
    assert set(by_name(listed.images, "val")) == {"ILSVRC2012_val_00000002"}
    assert "2 images of val of no class or of several (val/ILSVRC2012_val_00000001.JPEG, ...)" in listed.left_out


def test_annotations_and_devkit_make_up_for_each_other(tmp_path):
    """Breaks when one annotation lost leaves its image without the class that the devkit says."""
    files = {**LAYOUTS["plain"], **devkit()}
    del files["Annotations/val/ILSVRC2012_val_00000001.xml"]
    write(tmp_path, files)
    expected = {name: (wnid, INNER[name]) for name, wnid in VAL.items()}
    assert by_name(scan(tmp_path).images, "val") == {**expected, "ILSVRC2012_val_00000001": (SPANIEL, None)}


def test_the_devkit_is_read_as_torchvision_reads_it(tmp_path, monkeypatch):
    """Breaks when class numbers are taken for positions among the sorted wnids, or lines are counted from 0."""
    with tarfile.open(tmp_path / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as tar:
        for path, content in devkit().items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content if isinstance(content, bytes) else content.encode()))
    monkeypatch.setattr(imagenet, "check_integrity", lambda *_: True)
    imagenet.parse_devkit_archive(tmp_path)
    _, wnids = imagenet.load_meta_file(tmp_path)
    write(tmp_path / "data", LAYOUTS["devkit"])
    found = by_name(scan(tmp_path / "data").images, "val")
    assert [found[f"ILSVRC2012_val_{n:08d}"][0] for n in (1, 2, 3)] == wnids


def test_the_devkit_with_a_plain_list_of_classes(tmp_path):
    """Breaks when the later devkits' text file of class numbers is not read."""
    folder = "ILSVRC/devkit/data"
    write(tmp_path, images())
    write(tmp_path, {f"{folder}/ILSVRC2015_clsloc_validation_ground_truth.txt": "1\n2\n1\n"})
    with pytest.raises(UsageError, match="ground_truth.txt: neither map_clsloc.txt nor meta.mat beside it"):
        scan(tmp_path)
    write(tmp_path, {f"{folder}/map_clsloc.txt": f"{SPANIEL} 1 English_springer\n{TENCH} 2 tench\n"})
    assert {name: label for name, (label, _) in by_name(scan(tmp_path).images, "val").items()} == VAL


def test_annotations_may_lie_elsewhere(tmp_path):
    """Breaks when a data set that nobody may write to cannot be given its annotations, or those add images."""
    write(tmp_path / "images", images())
    write(tmp_path / "notes", {**val_xml("Annotations/val"), "val/ILSVRC2012_val_00000044.JPEG": "x"})
    found = by_name(scan(tmp_path / "images", annotations=str(tmp_path / "notes")).images, "val")
    assert found == {name: (wnid, INNER[name]) for name, wnid in VAL.items()}


@pytest.mark.parametrize("layout", ["kaggle", "published", "devkit"])
def test_a_remote_root_reads_the_same(tmp_path, layout):
    """Breaks when something is opened as a local file: the data may lie in a bucket."""
    root = f"memory://ilsvrc-{layout}"
    files = Files(root)
    for path, content in LAYOUTS[layout].items():
        files.put(path, content if isinstance(content, bytes) else content.encode())
    write(tmp_path, LAYOUTS[layout])
    found, expected = scan(root), scan(tmp_path)
    bare = [image._replace(stamp="") for image in found.images]
    assert bare == [image._replace(stamp="") for image in expected.images]
    assert found.left_out == expected.left_out
    assert IlsvrcReader.recognise(Tree(root)) == IlsvrcReader.recognise(Tree(str(tmp_path)))


def test_one_odd_image_is_a_row(tmp_path):
    """Breaks when a link to nothing ends the run instead of becoming a quarantined row."""
    write(tmp_path, LAYOUTS["plain"])
    (tmp_path / f"train/{TENCH}/{TENCH}_5.JPEG").symlink_to("nothing")
    troubles = {image.image_id: image.trouble for image in scan(tmp_path).images if image.trouble}
    assert troubles == {f"train/{TENCH}/{TENCH}_5.JPEG": "a link to nothing"}


CSV = "ImageId,PredictionString\n"
TRUTH = "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"


@pytest.mark.parametrize(
    ("layout", "path", "content", "words"),
    [
        ("kaggle", "LOC_val_solution.csv", "id,label\n", "LOC_val_solution.csv: the header must be ImageId,Pred"),
        (
            "kaggle",
            "LOC_val_solution.csv",
            f"{CSV}ILSVRC2012_val_00000001,{TENCH} 1 2 3\n",
            "line 2: 'wnid x0 y0 x1 y1'",
        ),
        ("kaggle", "LOC_val_solution.csv", f"{CSV}ILSVRC2012_val_00000001,\n", "line 2: 'wnid x0 y0 x1 y1'"),
        (
            "kaggle",
            "LOC_val_solution.csv",
            f"{CSV}ILSVRC2012_val_00000001,{TENCH} 1 2 3 nan\n",
            "line 2: a corner must",
        ),
        ("kaggle", "LOC_val_solution.csv", b"ImageId,PredictionString\n\xe9", "no UTF-8 text"),
        ("plain", "Annotations/val/ILSVRC2012_val_00000002.xml", "<annotation>", "00000002.xml: no XML"),
        ("devkit", TRUTH, "2\n9\n2\n", "ground_truth.txt, line 2: '9' is no class number"),
        ("devkit", TRUTH, "2\n3\ntwo\n", "ground_truth.txt, line 3: 'two' is no class number"),
        ("devkit", "ILSVRC2012_devkit_t12/data/meta.mat", b"MATLAB?", "meta.mat: no meta.mat of an ILSVRC devkit"),
        ("devkit", "ILSVRC2012_devkit_t12/data/meta.mat", bytes(2**21), "meta.mat: larger than 1 MiB"),
        ("devkit", "ILSVRC2012_devkit_t12/data/map_clsloc.txt", TENCH, "map_clsloc.txt, line 1: a wnid and its number"),
    ],
)
def test_bad_tables_are_one_line(tmp_path, layout, path, content, words):
    """Breaks when a damaged table gives a traceback, wrong classes, or a huge one is read."""
    write(tmp_path, {**LAYOUTS[layout], path: content})
    with pytest.raises(UsageError, match=f"^dataset: .*{words}") as refused:
        scan(tmp_path)
    assert "\n" not in str(refused.value)


def test_an_empty_class_folder_is_refused(tmp_path):
    """Breaks when an archive that was not unpacked shifts the label of every class behind it."""
    write(tmp_path, LAYOUTS["plain"])
    (tmp_path / "train/n01443537").mkdir()
    with pytest.raises(UsageError, match="dataset: class folder train/n01443537 has no images"):
        scan(tmp_path)


def test_other_roots_are_one_line(tmp_path):
    """Breaks when a wrong path, or a folder of something else, gives a traceback."""
    with pytest.raises(UsageError, match="dataset: root .*none: No such file"):
        scan(tmp_path / "none")
    write(tmp_path, {"cat/1.jpg": "x"})
    with pytest.raises(UsageError, match="there are no train/<wnid>.* and no val/.*: 1 images outside"):
        scan(tmp_path)


@pytest.fixture(scope="module")
def validation(data_root: Path, tmp_path_factory) -> Path:
    """Real validation photographs, flat, with the evaluator's metadata beside them."""
    folder = tmp_path_factory.mktemp("ilsvrc")
    with tarfile.open(data_root / "ilsvrc-val.tar.gz") as tar:
        tar.extractall(folder, filter="data")
    return folder / "ilsvrc-val"


@pytest.mark.parametrize("form", ["xml", "csv"])
def test_boxes_of_real_images_are_those_of_the_evaluator(validation, tmp_path, form):
    """Breaks when a box or class differs from the evaluator's row: all published numbers are measured on these."""
    metadata = validation / "metadata" / "ILSVRC" / "test"
    truth = read_metadata(metadata).truth
    wnids = [f"n{n:08d}" for n in range(10_000_000, 10_001_000)]  # by their position alone, as the metadata have them
    corners = defaultdict(list)
    for line in (metadata / "localization.txt").read_text().splitlines():
        image_id, *box = line.split(",")
        corners[image_id].append(tuple(box))
    objects = {
        image_id.split("/")[1].removesuffix(".JPEG"): [(wnids[label], *box) for box in corners[image_id]]
        for image_id, label in zip(truth.image_ids, truth.labels, strict=True)
    }
    (tmp_path / "val").symlink_to(validation / "val")
    if form == "xml":
        write(tmp_path, {f"Annotations/val/{name}.xml": of_val(name, own) for name, own in objects.items()})
    else:
        rows = [f"{name},{' '.join(' '.join(each) for each in own)} \n" for name, own in objects.items()]
        write(tmp_path, {"LOC_val_solution.csv": CSV + "".join(rows)})
    listed = scan(tmp_path)
    found = {image.image_id: image for image in listed.images}
    assert set(found) == set(truth.image_ids)
    assert listed.left_out == []
    assert sum(len(image.boxes) for image in listed.images) == 965
    boxes = np.split(truth.boxes.boxes, truth.boxes.offsets[1:-1])
    for image_id, label, own in zip(truth.image_ids, truth.labels, boxes, strict=True):
        assert found[image_id].label_name == wnids[label]
        np.testing.assert_array_equal(found[image_id].boxes, own)


def test_a_run_ends_with_the_images_table(tmp_path):
    """Breaks when the catalog or the config does not know the reader, or the table lacks what the reader found."""
    buffer = io.BytesIO()
    Image.new("RGB", (500, 375)).save(buffer, "JPEG")
    files = {path: buffer.getvalue() if path.endswith(".JPEG") else content for path, content in kaggle().items()}
    write(tmp_path / "data", files)
    dataset = {"reader": "ilsvrc", "root": str(tmp_path / "data"), "dev_fraction": 0.0}
    target = runs.target_of({"run_root": str(tmp_path / "run"), "dataset": dataset})
    computed = runs.execute(target)
    assert (computed["ingest"], computed["truth"]) == (1, 1)
    rows = runs.images(target, "val")
    assert {name.rsplit("/", 1)[-1][:-5]: (row["label"], row["label_name"]) for name, row in rows.items()} == {
        "ILSVRC2012_val_00000001": (1, SPANIEL),
        "ILSVRC2012_val_00000002": (0, TENCH),
        "ILSVRC2012_val_00000003": (1, SPANIEL),
    }
    for name, row in rows.items():
        boxes = [tuple(box[corner] for corner in ("x0", "y0", "x1", "y1")) for box in row["gt_boxes"]]
        assert boxes == INNER[name.rsplit("/", 1)[-1][:-5]]
    assert runs.execute(target) == {}


def test_auto_takes_kaggles_root(tmp_path):
    """Breaks when Kaggle's ILSVRC is listed by another reader, or by none."""
    write(tmp_path, LAYOUTS["kaggle"])
    reader = AutoReader(AutoReader.Params(root=str(tmp_path)))
    reader.among([AutoReader, IlsvrcReader, VocReader, FolderReader])
    assert len(reader.scan().images) == len(TRAIN) + len(VAL)
