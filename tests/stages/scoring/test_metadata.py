"""Metadata text files, and the trivial baselines of the standard data sets."""

import os
import tarfile

import numpy as np
import pytest

from stages.scoring.metadata import BoxMetadata, baselines, parse_boxes, parse_class_labels, parse_image_ids

# Counted once from these files by independent code, in percent at IoU 0.3, 0.5 and 0.7.
PUBLISHED = {
    "ILSVRC": {
        ("whole_image", "original"): (62.82, 40.70, 22.27),
        ("whole_image", "wsolevaluation"): (63.06, 41.11, 22.59),
        ("whole_crop", "psol"): (69.33, 50.42, 32.53),
        ("whole_image", "first_box"): (60.88, 39.60, 21.69),
        ("centred_gaussian", "wsolevaluation"): (76.81, 54.06, 29.28),
    },
    "CUB": {
        ("whole_image", "original"): (53.50, 18.59, 4.21),
        ("whole_image", "wsolevaluation"): (53.95, 18.95, 4.56),
        ("whole_crop", "psol"): (69.19, 34.50, 12.75),
        ("centred_gaussian", "wsolevaluation"): (93.91, 59.60, 17.00),
    },
}


@pytest.fixture(scope="module")
def metadata_folder(data_root, tmp_path_factory):
    archive = data_root / "wsol-metadata.tar.gz"
    if not archive.is_file() and "WEAKBOX_DATA" not in os.environ:
        pytest.skip(f"{archive} is absent")
    folder = tmp_path_factory.mktemp("metadata")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / "wsol-metadata"


def read_split(folder) -> BoxMetadata:
    def lines(name: str) -> list[str]:
        return (folder / name).read_text().splitlines()

    return parse_boxes(parse_image_ids(lines("image_ids.txt")), lines("image_sizes.txt"), lines("localization.txt"))


@pytest.mark.parametrize("data_set", PUBLISHED)
def test_baselines_of_the_standard_data_sets(metadata_folder, data_set):
    """Breaks when a protocol is off by a pixel, a rounding or a comparison."""
    rows = baselines(read_split(metadata_folder / data_set / "test"))
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        found.setdefault((row.predictor, row.protocol), []).append(row.value)
    assert found.keys() == PUBLISHED[data_set].keys()
    for key, values in PUBLISHED[data_set].items():
        np.testing.assert_allclose(found[key], values, atol=0.0051, err_msg=str(key))


IDS = ["a,b.jpg", "c.jpg"]
SIZES = ["a,b.jpg,100,50", "c.jpg,10,20"]
BOXES = ["c.jpg,1,2,3,4", "a,b.jpg,0,0,9,9", "c.jpg,0,0,0,0"]


def test_lines_in_any_order():
    """Breaks when boxes are taken in file order instead of by id, or an id with a comma is cut."""
    metadata = parse_boxes(IDS, SIZES, BOXES)
    np.testing.assert_array_equal(metadata.sizes, [[100, 50], [10, 20]])
    np.testing.assert_array_equal(metadata.truth.of(0), [[0, 0, 10, 10]])
    np.testing.assert_array_equal(metadata.truth.of(1), [[1, 2, 4, 5], [0, 0, 1, 1]])
    np.testing.assert_array_equal(parse_class_labels(["c.jpg,7", "a,b.jpg,3"], IDS), [3, 7])


@pytest.mark.parametrize(
    ("sizes", "boxes", "message"),
    [
        (SIZES[:1], BOXES, "c.jpg: no image size"),
        (SIZES, BOXES[:1], "a,b.jpg: no ground-truth box"),
        (SIZES, [*BOXES, "d.jpg,0,0,1,1"], "d.jpg: no image id"),
        (SIZES, [*BOXES, "c.jpg,5,0,1,1"], "c.jpg: box 5,0,1,1 has x1 < x0"),
        (SIZES, [*BOXES, "c.jpg,5,0,1"], "line 4: expected"),
        (SIZES, [*BOXES, "c.jpg,0,0,nan,1"], "line 4: expected"),
    ],
)
def test_bad_lines_name_the_id_or_the_line(sizes, boxes, message):
    """Breaks when a bad file gives a wrong number instead of an error."""
    with pytest.raises(ValueError, match=message):
        parse_boxes(IDS, sizes, boxes)


def test_repeated_id_is_refused():
    """Breaks when an image would be counted twice."""
    with pytest.raises(ValueError, match="twice"):
        parse_image_ids(["a", "b", "a"])
