import csv
import hashlib

import numpy as np
import pytest
from PIL import Image

from stages.ingest.demo import BOXES_FILE, Labelled, compose, draw, load_sources

LABELS_AND_BOXES = "a7bd144eae515ecc4aba1fabbefb4134a65508444f652afe5f5aad78d5027aca"


@pytest.fixture(scope="module")
def sources():
    return load_sources()


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo")
    return root, compose(root, train=30, test=20)


def test_labels_and_boxes_of_the_default_seed_never_change(sources):
    """Breaks when a digit goes elsewhere: published figures on the demo data would stop being comparable."""
    rows = [
        _row(sources, split, number) for split, count in (("train", 3700), ("test", 1000)) for number in range(count)
    ]
    assert hashlib.sha256("\n".join(rows).encode()).hexdigest() == LABELS_AND_BOXES


def test_training_and_test_digits_are_different_digits(sources):
    """Breaks when a digit serves both splits: top-1 would reward remembering it."""
    for train, test in zip(sources.digits["train"], sources.digits["test"], strict=True):
        seen = {digit.tobytes() for digit in train}
        assert not any(digit.tobytes() in seen for digit in test)
        assert len(train) > 2 * len(test) > 0


def test_an_image_depends_on_its_own_number_alone(sources):
    """Breaks when images share one random stream: a smaller data set would not be the start of a larger one."""
    alone = draw(sources, "train", 7)
    after_others = [draw(sources, "train", number) for number in range(8)][7]
    assert np.array_equal(alone.image, after_others.image)
    assert alone.box == after_others.box


def test_seed_and_split_change_the_image(sources):
    """Breaks when the seed or the split does not reach the generator: test images would repeat training ones."""
    boxes = {draw(sources, split, 7, seed=seed).box for split in ("train", "test") for seed in (0, 1)}
    assert len(boxes) == 4


@pytest.mark.parametrize("size", [32, 64, 96])
def test_box_is_the_exact_bounds_of_the_mask(sources, size):
    """Breaks on any off-by-one, or a digit that leaves the image: 'exact boxes and masks' would be untrue."""
    for number in range(40):
        drawing = draw(sources, "test", number, size=size)
        rows, columns = np.nonzero(drawing.mask)
        assert drawing.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert drawing.image.shape == (size, size, 3)
        assert 0.25 * size < drawing.box[3] - drawing.box[1] <= 0.70 * size + 1


def test_digit_is_brighter_than_what_lies_behind_it(sources):
    """Breaks when the digit is drawn elsewhere than its mask, or under the clutter."""
    for number in range(40):
        drawing = draw(sources, "train", number)
        assert drawing.image[drawing.mask].mean() > drawing.image[~drawing.mask].mean() + 50


def test_written_folder_reads_back(composed):
    """Breaks when the files are no ordinary folder data set, or differ from what is returned."""
    root, labelled = composed
    with (root / BOXES_FILE).open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["image_id", "x0", "y0", "x1", "y1"]
    assert [(row[0], *map(int, row[1:])) for row in rows] == [(item.image_id, *item.box) for item in labelled]
    assert {str(path.relative_to(root)) for path in root.glob("t*/*/*.jpg")} == {item.image_id for item in labelled}
    assert all(item.image_id.split("/")[1] == str(item.label) for item in labelled)
    assert [item.label for item in labelled[:10]] == list(range(10))


def test_files_hold_the_drawing(composed, sources):
    """Breaks on swapped colour channels, a lossy mask or heavy JPEG compression."""
    root, labelled = composed
    item, drawing = labelled[3], draw(sources, "train", 3)
    assert item == Labelled("train/3/000003.jpg", 3, drawing.box)
    image = np.asarray(Image.open(root / item.image_id), dtype=float)
    assert np.abs(image - drawing.image).mean() < 8
    mask = np.asarray(Image.open(root / "masks" / f"{item.image_id}.png"))
    assert np.array_equal(mask == 255, drawing.mask)
    assert set(np.unique(mask)) == {0, 255}


def test_a_second_composition_is_equal(composed, tmp_path):
    """Breaks when anything but the arguments (time, dictionary order, a global generator) reaches the files."""
    root, labelled = composed
    assert compose(tmp_path, train=30, test=20) == labelled
    for item in labelled:
        assert (tmp_path / item.image_id).read_bytes() == (root / item.image_id).read_bytes()


def _row(sources, split, number):
    box = draw(sources, split, number).box
    return f"{split}/{number % 10}/{number:06d}.jpg,{','.join(map(str, box))}"
