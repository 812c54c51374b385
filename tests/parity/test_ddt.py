"""DDT against the numbers of PSOL's released code."""

import numpy as np
import pytest
import torch

from stages.boxes.boxes import pseudo_boxes
from stages.ddt.ddt import Descriptors, transform
from stages.ddt.parameters import SignRule
from stages.vision.box_rule import BoxRule
from stages.vision.boxes import xyxy_to_xywh

RULES: dict[str, SignRule] = {"": "max_abs_proj", "_score_sign": "max_abs_proj", "_loading_sign": "max_abs_coef"}
DDT_RULE = BoxRule(kind="absolute", frame="grid", components="largest")


def variants(golden):
    found = [suffix for suffix in RULES if f"first_component{suffix}" in golden.arrays]
    assert found, f"{golden.name} holds no component"
    return found


def class_maps(golden, suffix):
    descriptors = Descriptors()
    features = torch.from_numpy(golden.arrays["features_q"].astype(np.float32) / 16)
    for batch in features.split(5):
        descriptors.append(batch)
    return transform(descriptors, RULES[suffix])


@pytest.mark.golden("ddt_")
def test_component_mean_and_maps(golden):
    """A wrong centring, sign rule or accumulation order moves the component or the maps."""
    for suffix in variants(golden):
        result, arrays = class_maps(golden, suffix), golden.arrays
        tolerance = golden.tolerance("first_component")
        np.testing.assert_allclose(
            result.principal.component, arrays[f"first_component{suffix}"], atol=tolerance, rtol=0
        )
        exact = arrays.get(f"exact_component{suffix}")
        if exact is not None:
            assert abs(abs(result.principal.component @ exact) - 1) < 1e-7
        np.testing.assert_allclose(result.principal.mean, arrays[f"mean_vector{suffix}"], atol=1e-5, rtol=0)
        np.testing.assert_allclose(result.maps, arrays[f"heatmaps{suffix}"], atol=golden.tolerance("heatmaps"), rtol=0)


@pytest.mark.golden("ddt_")
def test_masks_and_boxes(golden):
    """4-connectivity, >= 0, another tie rule or another enlargement changes a mask or a box."""
    side = golden.parameters["enlarged"]
    for suffix in variants(golden):
        maps, arrays = class_maps(golden, suffix).maps, golden.arrays
        heatmaps = arrays[f"heatmaps{suffix}"]
        expected = np.unpackbits(arrays[f"mask_bits{suffix}"])[: maps.size].reshape(maps.shape).astype(bool)
        sure = np.abs(heatmaps) > golden.tolerance("masks")
        height, width = maps.shape[1:]
        for index, score_map in enumerate(maps):
            on_grid = pseudo_boxes(score_map, height, width, DDT_RULE, 0.0)
            mask = on_grid.masks[0] & (on_grid.flag is None)
            assert (mask == expected[index])[sure[index]].all()
            box = pseudo_boxes(score_map, side, side, DDT_RULE, 0.0).boxes[0, :4]
            np.testing.assert_allclose(
                xyxy_to_xywh(box) / side, arrays[f"boxes_xywh{suffix}"][index], atol=golden.tolerance("boxes"), rtol=0
            )
