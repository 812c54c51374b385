"""VOC's files beyond what others read."""

from xml.etree import ElementTree as ET

import numpy as np
import pytest

from stages.formats.voc import Voc
from stages.vision.masks import encode
from tests.exports import entries_of, files_of

IMAGE = {"image_id": "a.png", "label": 0, "label_name": "c", "split": "train", "width": 10, "height": 10}


def made(box, rles, classes=1):
    corners = dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))
    row = {**IMAGE, "method": "cam", "boxes": [{**corners, "score": 1.0}], "masks": rles}
    return files_of(Voc(folder=False, outlined=True, classes=classes), [entries_of([IMAGE], [row])], ["c"] * classes)


@pytest.mark.parametrize(
    ("box", "corners"),
    [((0, 0, 10, 10), [1, 1, 10, 10]), ((9.7, 2, 10, 5), [10, 3, 10, 5]), ((2.2, 3.4, 2.3, 3.5), [3, 4, 3, 4])],
)
def test_corners_are_pixels_of_the_picture(box, corners):
    """Breaks when a thin box lies beside its picture, or ends before it begins."""
    thing = ET.fromstring(made(box, None)["Annotations/a.xml"]).find("object/bndbox")
    assert thing is not None
    assert [int(corner.text or "") for corner in thing] == corners


def test_a_list_of_masks_names_those_that_are_there():
    """Breaks when VOCSegmentation opens a mask that was never written."""
    without = made((1, 1, 5, 5), None)
    assert without["ImageSets/Segmentation/train.txt"] == b""
    mask = np.zeros((10, 10), bool)
    mask[1:5, 1:5] = True
    of_few, of_many = (made((1, 1, 5, 5), [encode(mask)], classes) for classes in (1, 300))
    assert of_few["ImageSets/Segmentation/train.txt"] == b"a\n"
    assert {"SegmentationObject/a.png", "SegmentationClass/a.png"} <= of_few.keys()
    assert "SegmentationClass/a.png" not in of_many, "a byte tells 254 apart"
