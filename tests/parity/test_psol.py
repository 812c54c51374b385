"""PSOL's box transforms against the numbers of its released code."""

import numpy as np
import pytest

from stages.psol.augment import crop_box, flip_box
from stages.vision.boxes import area, xyxy_to_xywh
from stages.vision.inference_views import InferenceViews


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
    """A margin that is off by a pixel, or width and height swapped, moves the boxes that are read from the crop."""
    arrays = golden.arrays
    views = InferenceViews("centre", crop, crop / resized, keep_aspect=False, interpolation="bilinear")
    seen = np.asarray(arrays[f"test_box_{resized}_{crop}"])
    sizes = [(int(width), int(height)) for width, height in arrays["sizes_wh"]]
    found = views.in_image(seen, sizes)
    whole = (seen > 0) & (seen < 1)  # what the crop cut is not known any more
    assert whole.any()
    pixels = np.tile(np.array(sizes), 2)
    np.testing.assert_allclose((found / pixels)[whole], (arrays["gt_pixel_box"] / pixels)[whole], atol=2e-6, rtol=0)
