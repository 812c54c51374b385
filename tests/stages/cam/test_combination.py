"""Combinational class activation maps (Yang et al. 2020)."""

import numpy as np
import pytest
import torch

from pipeline.base.errors import UsageError
from stages.cam.cam import class_activation_maps, combined_maps, pooled_logits, rank_weights
from tests import runs


def test_weights_fall_from_one_to_minus_one():
    """Breaks when the likeliest class does not count for, or the unlikeliest not against, by the published curves."""
    linear, quadratic = rank_weights(200, "linear"), rank_weights(200, "quadratic")
    np.testing.assert_allclose(linear, 1 - 2 * np.arange(200) / 199, atol=1e-6)
    np.testing.assert_allclose(quadratic[:100], (1 - np.arange(100) / 99) ** 2, atol=1e-6)
    np.testing.assert_allclose(quadratic[100:], -((np.arange(100) / 99) ** 2), atol=1e-6)
    for combination in ("linear", "quadratic"):
        for classes in (1, 2, 3, 7, 1000):
            weights = rank_weights(classes, combination)
            assert weights.shape == (classes,)
            assert weights[0] == 1
            assert classes == 1 or weights[-1] == -1
            assert bool((weights.diff() <= 0).all())


@pytest.mark.parametrize("combination", ["linear", "quadratic"])
def test_the_map_is_the_weighted_sum_of_all_classes_maps(combination):
    """Breaks when classes are ranked by anything but the image's own logits, or the sum is another one."""
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(5, 6, 3, 4, generator=generator)
    weight, bias = torch.randn(7, 6, generator=generator), torch.randn(7, generator=generator)
    logits = pooled_logits(features, weight, bias)
    found = combined_maps(features, weight, logits, combination)
    for n in range(5):
        order = sorted(range(7), key=lambda label: -float(logits[n, label]))
        maps = [class_activation_maps(features[n : n + 1], weight, torch.tensor([label]))[0] for label in order]
        expected = sum(float(g) * one for g, one in zip(rank_weights(7, combination), maps, strict=True))
        torch.testing.assert_close(found[n], expected, rtol=1e-5, atol=1e-5)


def test_of_two_classes_it_is_the_difference_of_their_maps():
    """Breaks when a background that both classes share is not taken out."""
    features = torch.rand(1, 4, 5, 5, generator=torch.Generator().manual_seed(1))
    weight = torch.tensor([[1.0, 0, 0, 2], [0.0, 1, 0, 2]])
    one, other = (class_activation_maps(features, weight, torch.tensor([label]))[0] for label in (0, 1))
    found = combined_maps(features, weight, torch.tensor([[0.0, 1.0]]), "linear")[0]
    torch.testing.assert_close(found, other - one)


def test_a_run_with_combined_maps(run_copy):
    """Breaks when the stage leaves the option out: method, map, or the recipe of maps without it."""
    run_copy["stages"] = {
        "classify": runs.STAGES["classify"],
        "cam": {},
        "ccam": {"stage": "cam", "combination": "quadratic"},
        "of_predicted": {"stage": "cam", "combination": "quadratic", "classes": "predicted"},
    }
    target = runs.target_of(run_copy)
    assert set(runs.execute(target)) == {"ccam", "of_predicted"}, "cam without the option is still done"
    plain, combined, predicted = (
        {row["image_id"]: row for row in runs.rows(target, name, "score_maps")}
        for name in ("cam", "ccam", "of_predicted")
    )
    assert {row["method"] for row in combined.values()} == {"ccam"}
    assert {row["method"] for row in predicted.values()} == {"ccam_predicted"}
    assert any(row["map"] != plain[image_id]["map"] for image_id, row in combined.items())
    for image_id, row in combined.items():
        assert row["label"] == plain[image_id]["label"]
        assert row["map"] == predicted[image_id]["map"], "the ranking, not the label, makes the map"


def test_a_simplified_combination_is_refused(run_copy):
    """Breaks when one of two options that exclude each other is silently ignored."""
    entry = {"stage": "cam", "combination": "linear", "form": "simplified"}
    run_copy["stages"] = {"classify": runs.STAGES["classify"], "maps": entry}
    with pytest.raises(UsageError, match="leave form or combination out"):
        runs.execute(runs.target_of(run_copy))
