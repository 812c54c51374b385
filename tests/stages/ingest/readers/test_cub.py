import io
import os
import tarfile

import pytest
from PIL import Image

from pipeline.base.errors import UsageError
from stages.ingest.readers.cub import CubParams, CubReader
from stages.ingest.recognition import Tree
from stages.ingest.scan import Found, Scan
from tests import runs
from tests.stages.ingest.readers import trivial
from tests.stages.ingest.readers.reading import in_memory
from tests.stages.ingest.readers.wsol_replica import cut

ALBATROSS, ANI = "001.Black_footed_Albatross", "004.Groove_billed_Ani"
TEST, TRAIN = f"{ALBATROSS}/Black_Footed_Albatross_0046_18.jpg", f"{ANI}/Groove_Billed_Ani_0002_1670.jpg"
TEXTS = {
    "images.txt": f"1 {TEST}\n181 {TRAIN}\n",
    "image_class_labels.txt": "1 1\n181 4\n",
    "train_test_split.txt": "1 0\n181 1\n",
    "bounding_boxes.txt": "1 60.0 27.0 325.0 304.0\n181 0.0 1.0 499.0 264.0\n",
    "classes.txt": f"1 {ALBATROSS}\n2 002.Laysan_Albatross\n3 003.Sooty_Albatross\n4 {ANI}\n",
    "README": "The images are those of the data set.\n",
    "parts/parts.txt": "1 back\n",
    "attributes/class_attribute_labels_continuous.txt": "0 0\n",
}
EXTRA = "attributes.txt"
"""What lies beside CUB_200_2011 in the published archive."""


def make(folder, image=b"x", masks=None):
    """CUB_200_2011 as it is published: file names, numbers and floats of the original, two of its images."""
    texts = {path: text.encode() for path, text in TEXTS.items()}
    write(folder, {**texts, f"images/{TEST}": image, f"images/{TRAIN}": image})
    if masks is not None:
        write(masks, {path.replace(".jpg", ".png"): image for path in (TEST, TRAIN)})
    return folder


def write(folder, files):
    """Write files below a folder."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


def scan(root, **more) -> Scan:
    """What a run lists: it lets the reader make an absent data set first."""
    reader = CubReader(CubParams(root=str(root), **more))
    if reader.is_absent():
        reader.provide()
    return reader.scan()


def by_id(found: Scan) -> dict[str, Found]:
    """The images by id."""
    return {image.image_id: image for image in found.images}


@pytest.mark.parametrize("inside", [True, False])
def test_the_published_layout(tmp_path, inside):
    """Breaks when a split, a class, a box or an id is read wrongly, or the ids depend on which of two folders is named.

    x + width is the last pixel inside, so the half-open corner is one beyond.
    """
    folder = make(tmp_path / "CUB_200_2011")
    found = scan(folder if inside else tmp_path)
    assert {(i.image_id, i.label_name, i.split): list(i.boxes or ()) for i in found.images} == {
        (TEST, ALBATROSS, "test"): [(60, 27, 386, 332)],
        (TRAIN, ANI, "train"): [(0, 1, 500, 266)],
    }
    assert found.classes == [ALBATROSS, ANI], "a class that no image has is no class of the run"
    assert all(image.masks == () and image.trouble is None for image in found.images)
    root = folder if inside else tmp_path
    assert all((root / image.uri).is_file() for image in found.images)


def test_a_remote_root_reads_the_same(tmp_path):
    """Breaks when text files or segmentations are opened as local files: the data may lie in a bucket."""
    make(tmp_path / "CUB_200_2011", masks=tmp_path / "segmentations")
    said = [
        [(i.image_id, i.split, i.label_name, i.boxes, [m.uri for m in i.masks]) for i in scan(root).images]
        for root in (tmp_path, in_memory(tmp_path, "birds"))
    ]
    assert said[0] == said[1]
    beside = by_id(scan("memory://birds/CUB_200_2011"))
    assert beside[TEST].masks[0].uri.endswith(f"birds/segmentations/{TEST.replace('.jpg', '.png')}")


@pytest.mark.parametrize("place", ["segmentations", "CUB_200_2011/segmentations"])
def test_segmentations_are_masks_wherever_they_lie(tmp_path, place):
    """Breaks when the folder is overlooked beside CUB_200_2011 or in it, or gives its masks to other images."""
    folder = make(tmp_path / "CUB_200_2011", masks=tmp_path / place)
    for root in (tmp_path, folder):
        found = by_id(scan(root))
        for image_id, image in found.items():
            (mask,) = image.masks
            path = mask.uri if os.path.isabs(mask.uri) else root / mask.uri
            assert os.path.samefile(path, tmp_path / place / image_id.replace(".jpg", ".png"))


def test_what_is_absent_is_a_row_or_is_said(tmp_path):
    """Breaks when one lost image ends the run, or a lost segmentation or an image that no file names is not told."""
    make(tmp_path / "CUB_200_2011", masks=tmp_path / "segmentations")
    (tmp_path / "CUB_200_2011" / "images" / TRAIN).unlink()
    (tmp_path / "segmentations" / TRAIN.replace(".jpg", ".png")).unlink()
    write(tmp_path, {"CUB_200_2011/images/001.Black_footed_Albatross/new.jpg": b"x"})
    found = scan(tmp_path)
    assert by_id(found)[TRAIN].trouble == "there is no such file"
    assert by_id(found)[TEST].trouble is None
    assert found.left_out == [
        "1 files in CUB_200_2011/images that images.txt does not name",
        "segmentations of 1 images: there are none",
    ]


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("images.txt", "1\n", "images.txt, line 1: a number and a value"),
        ("images.txt", f"1 {TEST}\n1 {TRAIN}\n", "images.txt, line 2: 1 twice"),
        ("images.txt", "1 ../../secret.jpg\n", "images.txt: 1: a path below .* not '../../secret.jpg'"),
        ("images.txt", "1 /etc/passwd\n", "images.txt: 1: a path below"),
        ("images.txt", f"1 {TEST}\n9 a.jpg\n", "train_test_split.txt: 9 is missing"),
        ("train_test_split.txt", "1 2\n181 1\n", r"train_test_split.txt: 1: 1 \(train\) or 0 \(test\) .* not '2'"),
        ("image_class_labels.txt", "1 1\n181 9\n", "classes.txt: 9 is missing"),
        ("bounding_boxes.txt", "1 60.0 27.0 325.0\n181 0 0 1 1\n", "bounding_boxes.txt: 1: x, y, width and height"),
        ("bounding_boxes.txt", "1 60.0 27.0 -3 304.0\n181 0 0 1 1\n", "bounding_boxes.txt: 1: a box with an area"),
        ("bounding_boxes.txt", "1 nan 27.0 3 304.0\n181 0 0 1 1\n", "bounding_boxes.txt: 1: a box with an area"),
        ("bounding_boxes.txt", None, "CUB_200_2011/bounding_boxes.txt is missing"),
        ("images.txt", None, "no images.txt and no CUB_200_2011/images.txt"),
        ("images.txt", "1 other.jpg\n", "no image that CUB_200_2011/images.txt names is in CUB_200_2011/images"),
    ],
)
def test_bad_text_files_are_one_line(tmp_path, path, text, words):
    """Breaks when a damaged text file gives a traceback, wrong boxes, or files from elsewhere."""
    folder = make(tmp_path / "CUB_200_2011")
    if text is None:
        (folder / path).unlink()
    else:
        (folder / path).write_text(text)
    with pytest.raises(UsageError, match=f"dataset: .*{words}") as told:
        scan(tmp_path)
    assert "\n" not in str(told.value)


def pack(folder, archive, *tops):
    """A .tgz of some folders and files."""
    with tarfile.open(archive, "w:gz") as tar:
        for top in tops:
            tar.add(folder / top, top)
    return str(archive)


def published(folder):
    """CUB_200_2011.tgz, which has two tops, and segmentations.tgz."""
    make(folder / "CUB_200_2011", masks=folder / "segmentations")
    (folder / EXTRA).write_text("1 has_bill_shape::curved_(up_or_down)\n")
    return (
        pack(folder, folder / "CUB_200_2011.tgz", EXTRA, "CUB_200_2011"),
        pack(folder, folder / "segmentations.tgz", "segmentations"),
    )


def test_the_published_archives_are_unpacked_once(tmp_path):
    """Breaks when the archive's second top is refused, a second run unpacks again, or masks given later are ignored."""
    images, masks = published(tmp_path / "down")
    root = tmp_path / "data" / "birds"
    found = scan(root, archive=images)
    assert len(found.images) == 2
    assert not any(image.masks for image in found.images)
    assert sorted(os.listdir(root)) == ["CUB_200_2011", EXTRA]
    assert all(image.masks for image in scan(root, archive=images, segmentations=masks).images)
    os.unlink(images)
    os.unlink(masks)
    assert len(scan(root, archive=images, segmentations=masks).images) == 2
    assert os.listdir(tmp_path / "data") == ["birds"]


def test_segmentations_beside_the_root_are_not_unpacked_again(tmp_path):
    """Breaks when a root CUB_200_2011 gets a second copy of the segmentations that lie beside it."""
    images, masks = published(tmp_path / "down")
    reader = CubReader(CubParams(str(tmp_path / "down" / "CUB_200_2011"), archive=images, segmentations=masks))
    assert not reader.is_absent()


@pytest.mark.parametrize("kind", ["truncated", "climbs", "too large"])
def test_a_bad_archive_is_one_line_and_leaves_nothing(tmp_path, kind):
    """Breaks when half an archive becomes a data set, one writes outside its folder, or one fills the disk."""
    archive = tmp_path / "CUB_200_2011.tgz"
    if kind == "truncated":
        images, _ = published(tmp_path / "down")
        whole = open(images, "rb").read()  # noqa: SIM115
        archive.write_bytes(whole[: len(whole) // 2])
    else:
        member = tarfile.TarInfo("../outside" if kind == "climbs" else "CUB_200_2011/images.txt")
        member.size = 0 if kind == "climbs" else 2**60
        archive.write_bytes(member.tobuf() + b"\0" * 1024)
    with pytest.raises(UsageError, match="dataset: archive"):
        scan(tmp_path / "data" / "birds", archive=str(archive))
    assert os.listdir(tmp_path / "data") == []
    assert not (tmp_path / "outside").exists()


def test_it_is_recognised(tmp_path):
    """Breaks when CUB becomes one class "images", or class folders or another layout are taken for it."""
    folder = make(tmp_path / "CUB_200_2011")
    for root in (folder, tmp_path):
        match = CubReader.recognise(Tree(str(root)))
        assert match is not None
        assert not match.missing
    (folder / "bounding_boxes.txt").unlink()
    match = CubReader.recognise(Tree(str(tmp_path)))
    assert match is not None
    assert match.missing == "CUB_200_2011/bounding_boxes.txt"
    (folder / "classes.txt").unlink()
    assert CubReader.recognise(Tree(str(tmp_path))) is None
    assert CubReader.recognise(Tree(str(folder / "images"))) is None
    (tmp_path / "CUB_200_2011.tgz").write_bytes(b"")
    match = CubReader.recognise(Tree(str(tmp_path / "CUB_200_2011.tgz")))
    assert match is not None
    assert "archive: CUB_200_2011.tgz" in match.missing


def png(value):
    """A grey picture of one value."""
    file = io.BytesIO()
    Image.new("L", (500, 335), value).save(file, "PNG")
    return file.getvalue()


def test_a_run_keeps_boxes_and_grey_masks(tmp_path):
    """Breaks when what the reader finds is lost on the way to the tables; masks of five annotators stay as they are."""
    data = tmp_path / "birds"
    make(data / "CUB_200_2011", image=png(100))
    write(data / "segmentations", {path.replace(".jpg", ".png"): png(153) for path in (TEST, TRAIN)})
    dataset = {"reader": "cub", "root": str(data), "dev_fraction": 0}
    target = runs.target_of({"run_root": str(tmp_path / "run"), "dataset": dataset, "stages": {}})
    runs.execute(target)
    images = runs.images(target)
    assert images[TEST]["gt_boxes"] == [{"x0": 60, "y0": 27, "x1": 386, "y1": 332}]
    assert [path.read_bytes() for path in images[TEST]["masks"]] == [png(153)]


@pytest.fixture(scope="module")
def birds(data_root, tmp_path_factory):
    """Five classes of the real data set, and the standard evaluator's metadata."""
    folder = tmp_path_factory.mktemp("birds")
    for name in ("cub-5.tar.gz", "wsol-metadata.tar.gz"):
        with tarfile.open(data_root / name) as tar:
            tar.extractall(folder, filter="data")
    return folder


def test_boxes_are_those_of_the_standard_evaluator(birds):
    """Breaks when a box of the real files is another than the evaluator's, once clipped to its image, or a split is."""
    found = by_id(scan(birds))
    assert len(found) == 282
    clipped = 0
    for split in ("train", "test"):
        ids = {image_id for image_id, image in found.items() if image.split == split}
        lines = (birds / "wsol-metadata/CUB" / split / "localization.txt").read_text().split()
        rows = {name: tuple(map(int, row)) for name, *row in (line.split(",") for line in lines)}
        assert ids <= set(rows)
        for image_id in ids:
            with Image.open(birds / found[image_id].uri) as image:
                width, height = image.size
            ((x0, y0, x1, y1),) = found[image_id].boxes or ()
            clipped += x1 > width or y1 > height
            last = (x0, y0, min(x1, width) - 1, min(y1, height) - 1)
            assert last == rows[image_id]
    assert clipped == 3


@pytest.mark.parametrize("split", ["train", "test"])
def test_trivial_predictors_reach_what_they_reach_by_the_evaluators_metadata(birds, tmp_path, split):
    """Breaks when a box is a pixel wider or narrower than the evaluator's: one image in a hundred changes."""
    ids = {image.image_id for image in scan(birds).images if image.split == split}
    known = trivial.of_metadata(cut(birds / "wsol-metadata/CUB" / split, tmp_path / "metadata", ids))
    (tmp_path / "cub").mkdir()
    (tmp_path / "cub" / "CUB_200_2011").symlink_to(birds / "CUB_200_2011")
    dataset = {"reader": "cub", "root": str(tmp_path / "cub"), "dev_fraction": 0}
    reached = trivial.of_run(dataset, tmp_path / "run", split)
    assert {key: reached[key] for key in known} == known
