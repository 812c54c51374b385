"""PSOL's box transforms against the numbers of its released code."""

import numpy as np
import pytest

from stages.psol.augment import crop_box, flip_box, to_centre_crop
from stages.vision.boxes import area, xyxy_to_xywh


@pytest.mark.golden("psol_boxes")
def test_crop_and_flip(golden):
    """A crop that is not cut to the box, or a mirror about pixel centres, gives another regression target."""
    arrays = golden.arrays
    for box, ijhw, flip, cropped, target in zip(
        arrays["train_pixel_box"],
        arrays["train_crop_ijhw"],
        arrays["train_flip"],
        arrays["train_crop_box"],
        arrays["train_target_xywh"],
        strict=True,
    ):
        if area(cropped) == 0:
            continue  # the reference's fallback lost the box; here such a crop is never drawn
        top, left, height, width = ijhw
        result = crop_box(box, np.array([left, top, left + width, top + height]))
        np.testing.assert_allclose(result, cropped, atol=golden.tolerance("crop_box"), rtol=0)
        mirrored = flip_box(result) if flip else result
        np.testing.assert_allclose(xyxy_to_xywh(mirrored), target, atol=golden.tolerance("target"), rtol=0)


@pytest.mark.golden("psol_boxes")
@pytest.mark.parametrize(("resized", "crop"), [(256, 224), (320, 299)])
def test_centre_crop(golden, resized, crop):
    """A margin that is off by a pixel, or width and height swapped, moves the test boxes."""
    arrays = golden.arrays
    expected = arrays[f"test_box_{resized}_{crop}"]
    boxes = [
        to_centre_crop(box, width, height, resized, crop)
        for box, (width, height) in zip(arrays["gt_pixel_box"], arrays["sizes_wh"], strict=True)
    ]
    np.testing.assert_allclose(np.clip(boxes, 0, 1), np.clip(expected, 0, 1), atol=1e-6, rtol=0)
