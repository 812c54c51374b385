"""Images in batches: decoding threads change nothing but the time."""

import cv2
import numpy as np
import pytest

from stages.vision.stream import ImageStream

BROKEN = {3, 4, 5, 11}


def rows(count=13):
    return [{"image_id": str(n), "content_hash": "", "turned": False, "lenient": False} for n in range(count)]


def read(row, content_hash):
    """A picture that says its number, or bytes of none."""
    number = int(row["image_id"])
    if number in BROKEN:
        return b"none"
    return cv2.imencode(".png", np.full((4, 6, 3), number, np.uint8))[1].tobytes()


def batches(ahead, size, count=13):
    stream = ImageStream(read, lambda image: image[:2, :2], size, ahead)
    found = [([row["image_id"] for row in batch], pixels) for batch, pixels in stream.batches(rows(count))]
    return found, [(row["image_id"], reason) for row, reason in stream.bad]


@pytest.mark.parametrize("size", [1, 3, 5, 64])
@pytest.mark.parametrize("ahead", [1, 2, 7, 20])
def test_threads_change_no_batch(ahead, size):
    """Breaks when parts come in another order, a bad image shifts its neighbours, or a batch is cut elsewhere."""
    (expected, bad), (found, also_bad) = batches(0, size), batches(ahead, size)
    assert [ids for ids, _ in found] == [ids for ids, _ in expected]
    for (ids, pixels), (_, same) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(pixels, same)
        assert pixels[:, 0, 0, 0].tolist() == [int(image_id) for image_id in ids]
    assert [image_id for image_id, _ in also_bad] == ["3", "4", "5", "11"]
    assert also_bad == bad


def test_a_batch_without_a_good_image_is_none():
    """Breaks when a network is given a batch of nothing."""
    found, bad = batches(2, 3, 6)
    assert [ids for ids, _ in found] == [["0", "1", "2"]]
    assert len(bad) == 3


@pytest.mark.parametrize("ahead", [0, 3])
def test_errors_of_the_storage_pass_through(ahead):
    """Breaks when an object store that is away makes bad images of good ones."""

    def away(row, content_hash):
        raise OSError("away")

    with pytest.raises(OSError, match="away"):
        list(ImageStream(away, lambda image: image, 4, ahead).batches(rows()))
