import tarfile

import pytest

from pipeline.base.errors import UsageError
from pipeline.store.files import Files
from stages.ingest.readers.wsol import WsolParams, WsolReader
from stages.ingest.recognition import Tree
from stages.ingest.scan import Found, Scan
from stages.scoring.foreign.metadata_folder import read_metadata
from tests.stages.ingest.readers import trivial
from tests.stages.ingest.readers.reading import in_memory
from tests.stages.ingest.readers.wsol_replica import ILSVRC, OPENIMAGES, ids, touch, write

TRAIN, TEST = "train/n01440764/n01440764_10026.JPEG", "val/ILSVRC2012_val_00000002.JPEG"
AT_ROOT, BY_NAME, AS_CLONED = "", "ILSVRC", "dataset/ILSVRC"
"""Where images may be: the evaluator joins dataset/<data set> with an id."""


def make(root, folder=AS_CLONED, texts=ILSVRC, data_set="ILSVRC"):
    """The evaluator's folders: metadata and images."""
    write(root / "metadata" / data_set, texts)
    touch(root / folder, ids(texts))
    return root


def scan(root, **more) -> Scan:
    """What a run lists."""
    return WsolReader(WsolParams(root=str(root), **more)).scan()


def by_id(found: Scan) -> dict[str, Found]:
    """The images by id."""
    return {image.image_id: image for image in found.images}


@pytest.mark.parametrize("folder", [AT_ROOT, BY_NAME, AS_CLONED])
def test_the_evaluators_folders(tmp_path, folder):
    """Breaks when a split, a class, a box or a second box is read wrongly, or images are looked for elsewhere.

    Their corners are inclusive, ours half-open. Classes are the folders of training images; ids are the metadata's.
    """
    found = scan(make(tmp_path, folder))
    assert {(i.image_id, i.label_name, i.split): i.boxes for i in found.images} == {
        (TRAIN, "n01440764", "train"): None,
        ("train/n01443537/n01443537_10007.JPEG", "n01443537", "train"): None,
        ("train/n01440764/n01440764_10027.JPEG", "n01440764", "train"): None,
        ("val2/0/0.jpeg", "n01440764", "val"): ((156, 163, 319, 231),),
        ("val2/1/8.jpeg", "n01443537", "val"): ((28, 94, 486, 304),),
        ("val/ILSVRC2012_val_00000001.JPEG", "n01443537", "test"): ((111, 108, 442, 194),),
        (TEST, "n01440764", "test"): ((45, 49, 500, 163), (2, 69, 438, 208)),
    }
    assert all((tmp_path / image.uri).is_file() for image in found.images)
    assert found.left_out == []


def test_boxes_of_training_images_are_kept(tmp_path):
    """Breaks when CUB's training boxes, which yardsticks may use, are dropped."""
    texts = {
        "train/image_ids.txt": "001.Black_footed_Albatross/a.jpg",
        "train/class_labels.txt": "001.Black_footed_Albatross/a.jpg,0",
        "train/image_sizes.txt": "001.Black_footed_Albatross/a.jpg,500,336",
        "train/localization.txt": "001.Black_footed_Albatross/a.jpg,139,30,292,294",
    }
    (image,) = scan(make(tmp_path, "dataset/CUB", texts, "CUB")).images
    assert (image.split, image.boxes) == ("train", ((139, 30, 293, 295),))


def test_a_remote_root_reads_the_same(tmp_path):
    """Breaks when metadata are opened as local files: the data may lie in a bucket."""
    make(tmp_path)
    local, remote = scan(tmp_path), scan(in_memory(tmp_path, "evaluator"))
    said = [[(i.image_id, i.uri, i.split, i.label_name, i.boxes) for i in each.images] for each in (local, remote)]
    assert said[0] == said[1]


@pytest.mark.parametrize("remote", [False, True])
def test_metadata_and_images_may_lie_elsewhere(tmp_path, remote):
    """Breaks when an absolute path or a URI of metadata, or of one split's images, is taken for one below the root."""
    write(tmp_path / "texts" / "ILSVRC", ILSVRC)
    touch(tmp_path / "photos" / "Data", ids(ILSVRC, "train", "test"))
    place = str(tmp_path / "v2")
    if remote:
        place = "memory://imagenet-v2"
        for image_id in ids(ILSVRC, "val"):
            Files(place).put(image_id, b"x")
    else:
        touch(tmp_path / "v2", ids(ILSVRC, "val"))
    more = {"train_images": "Data", "val_images": place, "test_images": "Data/"}
    found = scan(tmp_path / "photos", metadata=str(tmp_path / "texts" / "ILSVRC"), **more)
    uris = {image.image_id: image.uri for image in found.images}
    assert len(uris) == 7
    assert uris[TRAIN] == f"Data/{TRAIN}"
    assert uris["val2/0/0.jpeg"].startswith("memory://" if remote else str(tmp_path / "v2"))
    assert uris["val2/0/0.jpeg"].endswith("val2/0/0.jpeg")


def test_an_image_that_is_not_there_is_a_row_with_its_reason(tmp_path):
    """Breaks when one lost file ends the run, or vanishes."""
    make(tmp_path)
    (tmp_path / AS_CLONED / TEST).unlink()
    image = by_id(scan(tmp_path))[TEST]
    assert image.trouble == "there is no such file"
    assert image.uri == f"{AS_CLONED}/{TEST}"


def test_splits_that_are_not_there_are_left_out_and_said(tmp_path):
    """Breaks when metadata of 1.3 million training images that nobody downloaded become as many rows of trouble.

    Or when a split whose texts are not complete, or files that no text names, are left out in silence.
    """
    texts = {path: text for path, text in ILSVRC.items() if path != "val/image_ids.txt"}
    write(tmp_path / "metadata" / "ILSVRC", texts)
    touch(tmp_path / "val", ["ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000002.JPEG", "more.JPEG", "notes.txt"])
    found = scan(tmp_path)
    assert {image.split for image in found.images} == {"test"}
    assert found.classes == ["n01440764", "n01443537"], "their names are known without the training images"
    assert found.left_out == [
        "split val: metadata/ILSVRC/val lacks image_ids.txt or class_labels.txt",
        "split train: none of its 3 images is there",
        "1 files that the metadata does not name",
    ]


def test_classes_without_names_are_numbers_that_sort(tmp_path):
    """Breaks when the one folder of all images becomes a class, or class 10 sorts before class 2."""
    labels = {"val/a.JPEG": 2, "val/b.JPEG": 10, "val/c.JPEG": 999}
    texts = {
        "test/image_ids.txt": "\n".join(labels),
        "test/class_labels.txt": "\n".join(f"{name},{label}" for name, label in labels.items()),
    }
    found = scan(make(tmp_path, AT_ROOT, texts))
    assert found.classes == ["002", "010", "999"]
    assert by_id(found)["val/b.JPEG"].label_name == "010"


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("test/image_ids.txt", f"{TEST}\n{TEST}", f"test/image_ids.txt: {TEST}: listed twice"),
        ("test/image_ids.txt", "../../etc/passwd", "test/image_ids.txt: '../../etc/passwd' is no path below"),
        ("test/image_ids.txt", "/etc/passwd", "test/image_ids.txt: '/etc/passwd' is no path below"),
        ("test/class_labels.txt", f"{TEST},0", "test/class_labels.txt: val/ILSVRC2012_val_00000001.JPEG: no class"),
        ("test/class_labels.txt", f"{TEST},cat", "test/class_labels.txt: line 1: expected an id and 1 numbers"),
        ("train/class_labels.txt", ILSVRC["train/class_labels.txt"].replace(",1", ",-1"), "class label -1 is no class"),
        ("test/localization.txt", f"{TEST},45,49,499", "test/localization.txt: line 1: expected an id and 4 numbers"),
        ("test/localization.txt", f"\n{TEST},9,0,5,5", "test/localization.txt: .* has x1 < x0"),
        ("test/localization.txt", f"{TEST},1,1,5,5", "val_00000001.JPEG: no ground-truth box"),
        ("test/localization.txt", "z.jpg,1,1,5,5", "test/localization.txt: z.jpg: no image id"),
        ("test/localization.txt", OPENIMAGES["test/localization.txt"], "it lists masks: reader openimages"),
        ("test/class_labels.txt", "\udcff", "test/class_labels.txt: no UTF-8 text"),
    ],
)
def test_bad_metadata_are_one_line(tmp_path, path, text, words):
    """Breaks when damaged metadata give a traceback, wrong boxes, or files from elsewhere."""
    make(tmp_path)
    (tmp_path / "metadata/ILSVRC" / path).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UsageError, match=f"dataset: metadata/ILSVRC/{'.*' if '/' not in words else ''}{words}") as told:
        scan(tmp_path, metadata="metadata/ILSVRC")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"metadata": "metadata/ILSVRC/test"}, "is the folder of one split: name the one that holds it"),
        ({"metadata": "metadata"}, "metadata metadata: no train, val or test"),
        ({"metadata": "none"}, "metadata none: no train, val or test"),
        ({"test_images": "dataset"}, "test_images: no image of metadata/ILSVRC/test is in 'dataset'"),
        ({"test_images": "../dataset"}, "'../dataset' is no path below"),
        ({"test_images": "/nowhere"}, "root /nowhere: No such file"),
    ],
)
def test_options_that_name_nothing_are_one_line(tmp_path, more, words):
    """Breaks when a folder that a config names and that is none gives an empty data set or a traceback."""
    with pytest.raises(UsageError, match=f"dataset: .*{words}"):
        scan(make(tmp_path), **more)


def test_a_root_without_metadata_or_images_is_one_line(tmp_path):
    """Breaks when nothing to read gives a traceback or a run of no images."""
    with pytest.raises(UsageError, match="no metadata/<data set> with boxes: name the folder as metadata"):
        scan(tmp_path)
    write(tmp_path / "metadata" / "ILSVRC", ILSVRC)
    with pytest.raises(UsageError, match="no image that metadata/ILSVRC names is below it"):
        scan(tmp_path)


def test_of_several_data_sets_the_one_with_images_is_taken(tmp_path):
    """Breaks when a clone of the evaluator, which has metadata of three data sets, cannot be read with one downloaded.

    Or when one of two that are there is taken by chance.
    """
    make(tmp_path)
    texts = {path: text.replace("val/ILSVRC2012_val_0000000", "001.A/") for path, text in ILSVRC.items()}
    write(tmp_path / "metadata" / "CUB", {path: text for path, text in texts.items() if path.startswith("test/")})
    write(tmp_path / "metadata" / "OpenImages", OPENIMAGES)
    assert len(scan(tmp_path).images) == 7
    match = WsolReader.recognise(Tree(str(tmp_path)))
    assert match is not None
    assert (match.missing, match.settings) == ("", {"metadata": "metadata/ILSVRC"})
    touch(tmp_path / "dataset" / "CUB", ["001.A/1.JPEG"])
    with pytest.raises(UsageError, match="several: metadata/CUB, metadata/ILSVRC with boxes"):
        scan(tmp_path)
    match = WsolReader.recognise(Tree(str(tmp_path)))
    assert match is not None
    assert match.missing == "a choice: metadata: metadata/CUB or metadata/ILSVRC"


def test_it_is_recognised(tmp_path):
    """Breaks when the folders are taken for classes, class folders are taken for it, or absent images are not told."""
    assert WsolReader.recognise(Tree(str(tmp_path))) is None
    touch(tmp_path, ["metadata/ILSVRC/a.jpg", "cat/b.jpg"])
    assert WsolReader.recognise(Tree(str(tmp_path))) is None
    write(tmp_path / "metadata" / "ILSVRC", ILSVRC)
    match = WsolReader.recognise(Tree(str(tmp_path)))
    assert match is not None
    assert match.missing == "the images that metadata/ILSVRC names"
    touch(tmp_path, [TEST])
    match = WsolReader.recognise(Tree(str(tmp_path)))
    assert match is not None
    assert not match.missing
    assert "boxes" in match.why


@pytest.fixture(scope="module")
def photographs(data_root, tmp_path_factory):
    """648 validation photographs of ILSVRC, and the evaluator's metadata of them."""
    folder = tmp_path_factory.mktemp("ilsvrc")
    with tarfile.open(data_root / "ilsvrc-val.tar.gz") as tar:
        tar.extractall(folder, filter="data")
    return folder / "ilsvrc-val"


def test_boxes_are_those_that_score_reads(photographs):
    """Breaks when reader and `weakbox score --metadata` read a box of the same texts differently."""
    known = read_metadata(photographs / "metadata/ILSVRC/test").truth
    found = by_id(scan(photographs))
    assert len(found) == 648
    for place, image_id in enumerate(known.image_ids):
        image = found[image_id]
        assert (image.split, image.label_name) == ("test", f"{known.labels[place]:03d}")
        assert [list(box) for box in image.boxes or ()] == known.boxes.of(place).tolist()


def test_trivial_predictors_reach_what_baselines_shows(photographs, tmp_path):
    """Breaks when a box, a size or a second box of an image is lost or moved between the texts and the metrics."""
    known = trivial.of_metadata(photographs / "metadata/ILSVRC/test")
    dataset = {"reader": "wsol", "root": str(photographs)}
    reached = trivial.of_run(dataset, tmp_path / "run", "test")
    assert len(known) == 15
    assert {key: reached[key] for key in known} == known
