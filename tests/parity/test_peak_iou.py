"""Peak-IoU and Peak-T in all four readings of their definition."""

from functools import reduce
from operator import add

import numpy as np
import pytest

from stages.scoring.peak_iou import overlap_counts, peak_counts

pytestmark = pytest.mark.golden("peak_iou")


def images(arrays: dict[str, np.ndarray]):
    shapes = arrays["shape_hw"]
    ends = np.cumsum(shapes.prod(axis=1))
    masks = np.unpackbits(arrays["gt_bits_flat"])[: ends[-1]].astype(bool)
    for shape, score_map, mask in zip(
        shapes, np.split(arrays["map_u8_flat"], ends[:-1]), np.split(masks, ends[:-1]), strict=True
    ):
        yield score_map.reshape(shape), mask.reshape(shape)


@pytest.mark.parametrize("comparison", ["gt", "ge"])
def test_counts(golden, comparison):
    """Breaks when a threshold is off by one or the comparison is the other one."""
    arrays = golden.arrays
    found = [overlap_counts(score_map, mask, comparison) for score_map, mask in images(arrays)]
    np.testing.assert_array_equal([shared for shared, _ in found], arrays[f"inter_{comparison}"])
    np.testing.assert_array_equal([union for _, union in found], arrays[f"union_{comparison}"])


@pytest.mark.parametrize("comparison", ["gt", "ge"])
@pytest.mark.parametrize(("pooling", "name"), [("pooled", "pooled"), ("per_image", "mean")])
def test_curves_and_peaks(golden, comparison, pooling, name):
    """Breaks when pooling and averaging are mixed up, or a later of equal peaks is taken."""
    arrays = golden.arrays
    counts = reduce(add, [peak_counts(score_map, mask, comparison) for score_map, mask in images(arrays)])
    atol = golden.tolerance("curves")
    np.testing.assert_allclose(counts.curve(pooling), arrays[f"{name}_iou_curve_{comparison}"], atol=atol, rtol=0)
    peak = counts.peak(pooling)
    assert peak.threshold == arrays[f"peak_t_{name}_{comparison}"]
    assert peak.iou == pytest.approx(float(arrays[f"peak_iou_{name}_{comparison}"]), abs=1e-9)
