"""The restricted activation loss against the numbers of SPA's released code."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from stages.spa.ram import pseudo_masks, restricted_activation_loss, softmax_variance

_UNSURE = 1e-6
"""Variances this close to a threshold may fall on either side of it (the sidecar says so)."""


def cases(golden):
    """Each case's arrays by name, as tensors."""
    for number in range(golden.parameters["cases"]):
        prefix = f"c{number}_"
        yield {
            name.removeprefix(prefix): torch.from_numpy(value)
            for name, value in golden.arrays.items()
            if name.startswith(prefix)
        }


@pytest.mark.golden("ram")
def test_variance_and_masks(golden):
    """A deviation, a biased variance, one normalisation for the batch or a comparison with equality shows here."""
    for case in cases(golden):
        threshold, gap, _ = case["params"].tolist()
        variance = softmax_variance(case["logits"])
        np.testing.assert_allclose(variance, case["norm_var"], atol=golden.tolerance("norm_var"), rtol=0)
        background, foreground = pseudo_masks(variance, threshold, gap)
        low, high = ((case["norm_var"] - edge).abs() > _UNSURE for edge in (threshold, threshold + gap))
        assert torch.equal(background[low], case["bg_mask"].bool()[low])
        assert torch.equal(foreground[high], case["fg_mask"].bool()[high])


@pytest.mark.golden("ram")
def test_loss_and_gradient(golden):
    """A sum for the mean, masks with gradient, or another class's map moves loss or gradient."""
    for case in cases(golden):
        threshold, gap, weight = case["params"].tolist()
        logits = case["logits"].requires_grad_()
        loss = restricted_activation_loss(logits, case["labels"], threshold, gap)
        total = cross_entropy(logits.mean(dim=(2, 3)), case["labels"]) + weight * loss
        loss.backward()
        assert loss.item() == pytest.approx(case["ra_loss"].item(), abs=golden.tolerance("ra_loss"))
        assert total.item() == pytest.approx(case["total_loss"].item(), abs=1e-5)
        np.testing.assert_allclose(logits.grad, case["grad"], atol=golden.tolerance("grad"), rtol=0)
