import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import UsageError
from stages.ingest.scan import Found, Scan, candidates, is_dev

IMAGE = Found("cat/a.jpg", "/data/cat/a.jpg", "10-99", "cat", "train", [(0, 0, 5, 5)], "/data/masks/cat/a.jpg.png")


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
        {"stamp": "10-100"},
        {"label_name": "dog"},
        {"split": "test"},
        {"boxes": [(0, 0, 5, 6)]},
        {"boxes": None},
        {"mask_uri": None},
    ],
)
def test_what_changes_a_row_changes_its_fingerprint(change):
    """Breaks when a replaced file, label, split, box or mask keeps the old results."""
    other = IMAGE._replace(image_id="cat/b.jpg", label_name="dog")
    before = candidates(Scan.of([IMAGE, other]), 0.0)[0].fingerprint
    after = candidates(Scan.of([IMAGE._replace(**change), other]), 0.0)[0].fingerprint
    assert before != after


def test_where_the_data_lies_is_not_in_the_fingerprint():
    """Breaks when the same files under another path are other images."""
    moved = IMAGE._replace(uri="s3://b/cat/a.jpg", mask_uri="s3://b/m.png")
    (one,), (other,) = (candidates(Scan.of([image]), 0.0) for image in (IMAGE, moved))
    assert one.fingerprint == other.fingerprint


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
