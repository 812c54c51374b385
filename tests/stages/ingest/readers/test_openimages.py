import io
import tarfile

import pytest
from PIL import Image

from pipeline.base.errors import UsageError
from stages.ingest.readers.openimages import OpenimagesParams, OpenimagesReader
from stages.ingest.readers.wsol import WsolReader
from stages.ingest.recognition import Tree
from stages.ingest.scan import Found, Scan
from stages.scoring.foreign.metadata_folder import read_metadata
from tests import runs
from tests.stages.ingest.readers.reading import in_memory
from tests.stages.ingest.readers.wsol_replica import ILSVRC, OPENIMAGES, cut, ids, masks, touch, write

FIRST, SECOND = "test/01226z/7af766bd43da900b.jpg", "test/0138tl/973645e9516726b3.jpg"
INSTANCES = ["test/01226z/7af766bd43da900b_m01226z_6554d965.png", "test/01226z/7af766bd43da900b_m01226z_8856c605.png"]
IGNORED = "test/01226z/7af766bd43da900b_ignore.png"
AS_CLONED = "dataset/OpenImages"


def make(root, folder=AS_CLONED, masks_in=None):
    """The evaluator's folders: metadata, images, and masks unpacked beside them or elsewhere."""
    write(root / "metadata" / "OpenImages", OPENIMAGES)
    touch(root / folder, ids(OPENIMAGES))
    touch(root / (folder if masks_in is None else masks_in), masks(OPENIMAGES))
    return root


def scan(root, **more) -> Scan:
    """What a run lists."""
    return OpenimagesReader(OpenimagesParams(root=str(root), **more)).scan()


def by_id(found: Scan) -> dict[str, Found]:
    """The images by id."""
    return {image.image_id: image for image in found.images}


@pytest.mark.parametrize("folder", ["", "OpenImages", AS_CLONED])
def test_the_evaluators_folders(tmp_path, folder):
    """Breaks when an instance or an ignored region is lost, goes to another image, or becomes an image."""
    found = scan(make(tmp_path, folder))
    below = f"{folder}/" if folder else ""
    said = {
        i.image_id: (i.label_name, i.split, [m.uri for m in i.masks], [m.uri for m in i.ignores]) for i in found.images
    }
    assert said == {
        "train/01226z/ed9d2feb6d44cff3.jpg": ("01226z", "train", [], []),
        "train/0138tl/d762413ad905af7f.jpg": ("0138tl", "train", [], []),
        FIRST: ("01226z", "test", [f"{below}{name}" for name in INSTANCES], [f"{below}{IGNORED}"]),
        SECOND: ("0138tl", "test", [f"{below}test/0138tl/973645e9516726b3_m0138tl_9ad378d4.png"], []),
    }
    assert found.classes == ["01226z", "0138tl"]
    assert all(image.boxes is None and image.trouble is None for image in found.images)
    assert found.left_out == []


def test_masks_may_lie_elsewhere(tmp_path):
    """Breaks when masks that were unpacked into a folder of their own, below the root or not, are not found."""
    make(tmp_path / "below", masks_in="masks")
    below = by_id(scan(tmp_path / "below", masks="masks"))
    assert below[FIRST].masks[0].uri == f"masks/{INSTANCES[0]}"
    make(tmp_path / "beside", masks_in=tmp_path / "masks")
    beside = by_id(scan(tmp_path / "beside", masks=str(tmp_path / "masks")))
    assert beside[FIRST].ignores[0].uri == str(tmp_path / "masks" / IGNORED)


def test_a_remote_root_reads_the_same(tmp_path):
    """Breaks when metadata are opened as local files: the data may lie in a bucket."""
    make(tmp_path)
    local, remote = scan(tmp_path), scan(in_memory(tmp_path, "openimages"))
    said = [[(i.image_id, i.uri, [m.uri for m in i.masks]) for i in each.images] for each in (local, remote)]
    assert said[0] == said[1]


def test_an_image_without_one_of_its_masks_is_a_row_with_its_reason(tmp_path):
    """Breaks when a lost mask makes the ground truth of an image smaller than it is, or ends the run."""
    make(tmp_path)
    (tmp_path / AS_CLONED / INSTANCES[1]).unlink()
    image = by_id(scan(tmp_path))[FIRST]
    assert image.trouble == f"mask {AS_CLONED}/{INSTANCES[1]}: there is no such file"
    assert (image.masks, image.ignores) == ((), ()), "stage truth reads every mask that is listed"


def test_images_without_any_masks_are_listed_and_it_is_said(tmp_path):
    """Breaks when images that were downloaded without masks all become rows of trouble, or masks vanish in silence."""
    make(tmp_path, masks_in="masks")
    found = scan(tmp_path)
    assert all(not image.masks and image.trouble is None for image in found.images)
    assert found.left_out == [
        "masks of split test: none of 3 is there",
        "4 files that the metadata does not name",
    ]
    with pytest.raises(UsageError, match="dataset: masks 'train': masks of split test: none of 3 is there"):
        scan(tmp_path, masks="train")


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        (
            "test/localization.txt",
            f"{FIRST},a.png,\n{SECOND},b.png",
            "line 2: expected an id, a mask and an ignore mask",
        ),
        ("test/localization.txt", f"{FIRST},a.png,", f"{SECOND}: no ground-truth mask"),
        ("test/localization.txt", f"{FIRST},../../a.png,\n{SECOND},b.png,", "'../../a.png' is no path below"),
        ("test/localization.txt", f"{FIRST},a.png,/a.png\n{SECOND},b.png,", "'/a.png' is no path below"),
        ("test/localization.txt", ILSVRC["test/localization.txt"], "it lists boxes: reader wsol reads them"),
    ],
)
def test_bad_metadata_are_one_line(tmp_path, path, text, words):
    """Breaks when damaged metadata give a traceback, fewer masks, or files from elsewhere."""
    make(tmp_path)
    (tmp_path / "metadata/OpenImages" / path).write_text(text)
    with pytest.raises(UsageError, match=f"dataset: metadata/OpenImages/{path}: {words}") as told:
        scan(tmp_path, metadata="metadata/OpenImages")
    assert "\n" not in str(told.value)


def test_it_is_recognised_and_told_from_metadata_of_boxes(tmp_path):
    """Breaks when OpenImages is taken for a data set with boxes, or class folders for OpenImages."""
    touch(tmp_path, ["metadata/OpenImages/a.jpg", "train/01226z/b.jpg"])
    assert OpenimagesReader.recognise(Tree(str(tmp_path))) is None
    make(tmp_path)
    match = OpenimagesReader.recognise(Tree(str(tmp_path)))
    assert match is not None
    assert (match.missing, match.settings) == ("", {"metadata": "metadata/OpenImages"})
    assert WsolReader.recognise(Tree(str(tmp_path))) is None
    write(tmp_path / "boxes" / "metadata" / "ILSVRC", ILSVRC)
    assert OpenimagesReader.recognise(Tree(str(tmp_path / "boxes"))) is None


def test_a_run_keeps_masks_and_ignored_regions(tmp_path):
    """Breaks when what the reader finds is lost on the way to the table of ground truth."""
    data = make(tmp_path / "data")
    picture = io.BytesIO()
    Image.new("L", (64, 48), 255).save(picture, "PNG")
    for path in (*ids(OPENIMAGES), *masks(OPENIMAGES)):
        (data / AS_CLONED / path).write_bytes(picture.getvalue())
    (data / AS_CLONED / SECOND).unlink()
    dataset = {"reader": "openimages", "root": str(data), "dev_fraction": 0}
    target = runs.target_of({"run_root": str(tmp_path / "run"), "dataset": dataset, "stages": {}})
    runs.execute(target)
    images, truth = runs.images(target), {row["image_id"]: row for row in runs.rows(target, "truth", "truth")}
    assert SECOND not in images, "it is quarantined"
    assert images[FIRST]["masks"] == [data / AS_CLONED / name for name in INSTANCES]
    assert [runs.path_of(target, uri) for uri in truth[FIRST]["ignore_uris"]] == [data / AS_CLONED / IGNORED]
    assert {row["image_id"] for row in runs.rows(target, "ingest", "quarantine")} == {SECOND}


def test_masks_are_those_that_score_reads(data_root, tmp_path):
    """Breaks when reader and `weakbox score --metadata` read a mask of the published texts differently."""
    with tarfile.open(data_root / "wsol-metadata.tar.gz") as tar:
        members = [member for member in tar if "OpenImages/val/" in member.name]
        tar.extractall(tmp_path, members, filter="data")
    published = tmp_path / "wsol-metadata" / "OpenImages" / "val"
    some = (published / "image_ids.txt").read_text().split()[::5]
    metadata = cut(published, tmp_path / "OpenImages" / "val", set(some)).parent
    texts = {f"val/{path.name}": path.read_text() for path in (metadata / "val").iterdir()}
    touch(tmp_path / "images", [*some, *masks(texts)])
    listed = scan(tmp_path / "images", metadata=str(metadata))
    found = by_id(listed)
    assert (len(found), len(listed.classes)) == (500, 100)
    sizes = "\n".join(f"{image_id},1,1" for image_id in found)
    (metadata / "val/image_sizes.txt").write_text(sizes)  # the published file is empty, and scoring wants one
    known = read_metadata(metadata / "val")
    for image_id, label, own in zip(known.truth.image_ids, known.truth.labels, known.masks or (), strict=True):
        image = found[image_id]
        assert listed.classes[label] == image.label_name
        assert [mask.uri for mask in image.masks] == list(own.instances)
        assert [mask.uri for mask in image.ignores] == ([own.ignore] if own.ignore else [])
