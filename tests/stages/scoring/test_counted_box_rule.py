"""What is counted of a box rule at every threshold, against stage `boxes` itself at each of them, one by one."""

import itertools
from collections.abc import Sequence
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.boxes.boxes import pseudo_boxes
from stages.scoring.cuts.cut_counts import CUT_THRESHOLDS, MAX_BOX_ACC_V2_IOUS
from stages.scoring.cuts.fixed_rule import iou_per_threshold
from stages.scoring.ragged import RaggedBoxes, from_lists
from stages.scoring.tally import FIXED, fixed_tallies
from stages.vision.box_rule import BoxRule, Components, Interpolation
from stages.vision.boxes import iou
from stages.vision.score_maps import enlarge, min_max

SIZES = np.array([[31, 22], [17, 40], [24, 24], [9, 33]], dtype=np.float64)
AREAS = (0.0, 0.02, 0.2)
RULES = [BoxRule(*fields) for fields in itertools.product(get_args(Components), AREAS, get_args(Interpolation))]


def score_maps(seed: int, grey_levels: int) -> list[np.ndarray]:
    """As stages store them: noise with many ties (equal areas, equal levels), a hill, and one that says nothing."""
    random = np.random.default_rng(seed)
    noise = [random.integers(0, grey_levels + 1, (5 + n, 7)) / grey_levels for n in range(2)]
    y, x = np.indices((6, 6))
    hill = np.exp(-((y - random.uniform(0, 6)) ** 2 + (x - random.uniform(0, 6)) ** 2) / random.uniform(2, 12))
    nothing = random.choice([0.25, np.nan])
    return [one.astype(np.float16) for one in (*noise, hill, np.full((4, 4), nothing))]


def truth_of(seed: int) -> RaggedBoxes:
    """No, one or several boxes an image, whole pixels, so that equal IoUs are equal to the bit."""
    random = np.random.default_rng([seed, 1])
    boxes = []
    for width, height in SIZES.astype(int):
        found = []
        for _ in range(random.integers(0, 4)):
            x0, y0 = random.integers(0, width - 2), random.integers(0, height - 2)
            found.append((x0, y0, random.integers(x0 + 1, width + 1), random.integers(y0 + 1, height + 1)))
        boxes.append(found)
    return from_lists(boxes)


def by_brute_force(maps: Sequence[np.ndarray], truth: RaggedBoxes, rule: BoxRule) -> np.ndarray:
    """Best IoU (N, 255) of any box of an image with any of its ground-truth boxes."""
    best = np.zeros((len(maps), len(CUT_THRESHOLDS)))
    for index, (score_map, (width, height)) in enumerate(zip(maps, SIZES.astype(int), strict=True)):
        for cut, threshold in enumerate(CUT_THRESHOLDS.tolist()):
            boxes = pseudo_boxes(score_map, int(height), int(width), rule, threshold).boxes[:, :4]
            best[index, cut] = iou(boxes, truth.of(index)).max(initial=0.0)
    return best


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.components}-{rule.min_area}-{rule.enlargement}")
@settings(max_examples=4)
@given(seed=st.integers(0, 2**32 - 1), grey_levels=st.integers(2, 300))
def test_counts_are_those_of_stage_boxes(rule, seed, grey_levels):
    """Breaks when a threshold is chosen for other boxes than it then makes: any field of the rule read otherwise."""
    maps, truth = score_maps(seed, grey_levels), truth_of(seed)
    best = by_brute_force(maps, truth, rule)
    for index, (score_map, (width, height)) in enumerate(zip(maps, SIZES.astype(int), strict=True)):
        enlarged = min_max(enlarge(score_map, height, width, rule.enlargement))
        np.testing.assert_array_equal(iou_per_threshold(enlarged, truth.of(index), rule), best[index])
    found = list(fixed_tallies(maps, truth, SIZES, rule))
    assert [(tally.rule, tally.iou, tally.images) for tally in found] == [
        (FIXED, level, len(maps)) for level in MAX_BOX_ACC_V2_IOUS
    ]
    for tally in found:
        np.testing.assert_array_equal(tally.counts, (best >= tally.iou).sum(axis=0), err_msg=str(tally.iou))


def test_the_rules_differ():
    """Breaks when the maps above are such that a field of the rule changes nothing, and so tests nothing."""
    maps, truth = score_maps(8, 40), truth_of(8)
    best = [by_brute_force(maps, truth, rule).tobytes() for rule in RULES]
    assert len(set(best)) == len(RULES)
