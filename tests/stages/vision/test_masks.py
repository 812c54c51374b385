import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from stages.vision import masks

mask_arrays = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=17), elements=st.booleans())


@given(mask_arrays)
def test_round_trip(mask):
    """Row order instead of COCO's column order gives a transposed mask; bytes cannot be written as JSON."""
    rle = json.loads(json.dumps(masks.encode(mask)))
    decoded = masks.decode(rle)
    assert decoded.dtype == bool
    np.testing.assert_array_equal(decoded, mask)
    assert masks.area(rle) == mask.sum()
    assert rle["size"] == list(mask.shape)


def test_stack_of_masks():
    """A stack of masks is an error, not one mask."""
    with pytest.raises(ValueError, match="height, width"):
        masks.encode(np.zeros((2, 4, 5), bool))
