"""wsolevaluation's MaskEvaluator: masks, histograms, precision, recall and PxAP."""

from functools import reduce
from operator import add

import numpy as np
import pytest

from stages.scoring.mask_metrics import evaluation_masks, pixel_histogram


def decode(maps: np.ndarray) -> np.ndarray:
    return np.where(maps == 0, 0.0, np.where(maps == 255, 1.0, (maps + 0.5) / 255))


pytestmark = pytest.mark.golden("eval_masks")


def unpack(bits: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.unpackbits(bits)[: int(np.prod(shape))].reshape(shape).astype(bool)


def test_masks_of_the_frame(golden):
    """Breaks when nearest resizing picks other pixels, or ignore wins over foreground."""
    arrays = golden.arrays
    shape = arrays["scoremap_u8"].shape
    foreground, ignore = unpack(arrays["gt_fg_bits"], shape), unpack(arrays["gt_ignore_bits"], shape)
    streams = np.split(arrays["src_mask_bits"], np.cumsum(arrays["src_mask_bytes"])[:-1])
    for index, (stream, (number, height, width)) in enumerate(zip(streams, arrays["src_nmask_h_w"], strict=True)):
        masks = unpack(stream, (number + 1, height, width))
        found_foreground, found_ignore = evaluation_masks(masks[:-1], [masks[-1]], side=shape[1])
        np.testing.assert_array_equal(found_foreground, foreground[index])
        np.testing.assert_array_equal(found_ignore, ignore[index])


@pytest.mark.parametrize("suffix", ["001", "01"])
def test_histograms_and_pxap(golden, suffix):
    """Breaks when a score on a bin's edge falls to the other side, or ignored pixels are counted."""
    arrays = golden.arrays
    interval = float("0." + suffix)
    shape = arrays["scoremap_u8"].shape
    foreground, ignore = unpack(arrays["gt_fg_bits"], shape), unpack(arrays["gt_ignore_bits"], shape)
    maps = decode(arrays["scoremap_u8"])
    parts = [pixel_histogram(*image, interval=interval) for image in zip(maps, foreground, ignore, strict=True)]
    total = reduce(add, parts)
    np.testing.assert_array_equal(total.positive, arrays[f"gt_true_hist_{suffix}"])
    np.testing.assert_array_equal(total.negative, arrays[f"gt_false_hist_{suffix}"])
    precision, recall = total.precision_recall()
    atol = golden.tolerance("precision_recall")
    np.testing.assert_allclose(precision, arrays[f"precision_{suffix}"], atol=atol, rtol=0)
    np.testing.assert_allclose(recall, arrays[f"recall_{suffix}"], atol=atol, rtol=0)
    assert total.pxap() == pytest.approx(float(arrays[f"pxap_{suffix}"]), abs=golden.tolerance("pxap"))
