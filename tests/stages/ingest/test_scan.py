import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import UsageError
from stages.ingest.scan import Found, Mask, Scan, annotations, candidates, is_dev

MASK = Mask("masks/cat/a.jpg.png", "3-7")
IMAGE = Found("cat/a.jpg", "cat/a.jpg", "10-99", "cat", "train", [(0, 0, 5, 5)], (MASK,))


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_fraction_keeps_the_smaller_ones_images(image_id, one, other):
    """Breaks when dev is a rank among the images there are, and so an image changes its split when others come."""
    if is_dev(image_id, min(one, other)):
        assert is_dev(image_id, max(one, other))
    assert not is_dev(image_id, 0)


def test_dev_is_about_its_fraction():
    """Breaks when the hash is not spread evenly, or the fraction not kept."""
    share = sum(is_dev(f"train/{n % 7}/{n:06d}.jpg", 0.1) for n in range(20_000)) / 20_000
    assert abs(share - 0.1) < 0.007


def test_dev_members_are_pinned():
    """Breaks when the hash changes: images that were trained on would become the ones thresholds are chosen on."""
    assert [n for n in range(60) if is_dev(f"train/{n}.jpg", 0.1)] == [19, 29, 37, 44, 47, 58]


def test_dev_is_taken_from_train_alone():
    """Breaks when val or test images leave their split."""
    images = [
        IMAGE._replace(image_id=f"{split}/{n}", split=split) for split in ("train", "val", "test") for n in range(50)
    ]
    splits = {row.image.image_id: row.split for row in candidates(Scan.of(images), 0.3)}
    for image in images:
        expected = {"train", "dev"} if image.split == "train" else {image.split}
        assert splits[image.image_id] in expected
    assert "dev" in splits.values()


def test_labels_are_positions_of_sorted_names():
    """Breaks when labels depend on the order in which files are listed."""
    images = [IMAGE._replace(image_id=name, label_name=name) for name in ("dog", "ant", "cat")]
    labels = {row.image.label_name: row.label for row in candidates(Scan.of(images), 0.1)}
    assert labels == {"ant": 0, "cat": 1, "dog": 2}


@pytest.mark.parametrize(
    "change",
    [
        {"image_id": "cat/0.jpg"},
        {"label_name": "dog"},
        {"split": "test"},
    ],
)
def test_what_is_said_of_an_image_is_in_its_fingerprint(change):
    """Breaks when another label or split keeps the old results."""
    other = IMAGE._replace(image_id="cat/b.jpg", label_name="dog")
    before = candidates(Scan.of([IMAGE, other]), 0.0)[0].fingerprint
    after = candidates(Scan.of([IMAGE._replace(**change), other]), 0.0)[0].fingerprint
    assert before != after


@pytest.mark.parametrize(
    "change",
    [{"uri": "s3://b/cat/a.jpg"}, {"stamp": "10-100"}, {"boxes": [(0, 0, 5, 6)]}, {"boxes": None}, {"masks": ()}],
)
def test_place_file_and_ground_truth_are_not_in_the_fingerprint(change):
    """Breaks when the same image is another one once it moved, was copied, or got a box."""
    (one,), (other,) = (candidates(Scan.of([image]), 0.0) for image in (IMAGE, IMAGE._replace(**change)))
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"boxes": [(0, 0, 5, 6)]}, True),
        ({"boxes": None}, True),
        ({"masks": ()}, True),
        ({"ignores": (MASK,)}, True),
        ({"masks": (MASK._replace(stamp="4-7"),)}, False),
        ({"stamp": "10-100"}, False),
        ({"label_name": "dog"}, False),
    ],
)
def test_ground_truth_has_a_fingerprint_of_its_own(change, said):
    """Breaks when a changed box goes unseen, or a changed image touches the ground truth."""
    one, other = (candidates(Scan.of([image]), 0.0) for image in (IMAGE, IMAGE._replace(**change)))
    assert (annotations(one) != annotations(other)) == said


def test_images_without_ground_truth_have_no_fingerprint_of_it():
    """Breaks when a shard of truth is made where nothing is annotated."""
    bare = candidates(Scan.of([IMAGE._replace(boxes=(), masks=())]), 0.0)
    assert annotations(bare) == ""


def test_an_id_twice_and_no_images_are_refused():
    """Breaks when two images share an id, or an empty data set becomes an empty run."""
    with pytest.raises(UsageError, match="'cat/a.jpg' twice"):
        candidates(Scan.of([IMAGE, IMAGE]), 0.1)
    with pytest.raises(UsageError, match="no images"):
        candidates(Scan.of([]), 0.1)


def test_a_scan_is_frozen():
    """Breaks when a reader's listing can be changed after the shards were planned from it."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Scan.of([IMAGE]).classes = ()  # type: ignore[misc]
